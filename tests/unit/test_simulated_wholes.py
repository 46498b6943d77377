"""Stand-ins for a table and an index as wholes: pages of a table, exports of it, documents read back."""

from __future__ import annotations

import gzip
import hashlib
import random
from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.table import TablePages
from cdc.records.change import StreamView
from cdc.sinks.opensearch.documents import DocumentReader
from cdc.testing import (
    Always,
    SimulatedClock,
    SimulatedDocuments,
    SimulatedExports,
    SimulatedOpenSearch,
    SimulatedPages,
    SimulatedS3,
    SimulatedTable,
)

SECOND = 1_000_000


def shop(clock: SimulatedClock, items: int = 0, **about: Any) -> SimulatedTable:
    table = SimulatedTable("shop", clock, seeded(), **about)
    for number in range(items):
        table.put((f"C#{number}", "O#1"), {"n": number})
    return table


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311  (not a secret)


def scanned(pages: TablePages, segments: int = 1, **about: Any) -> list[Any]:
    """All items, segment by segment and page by page."""
    found: list[Any] = []
    for segment in range(segments):
        after = None
        while True:
            page = pages.page("shop", segment, segments, after, **about)
            found += page.items
            after = page.after
            if after is None:
                break
    return found


def numbers(items: list[Any]) -> list[int]:
    return sorted(int(item["n"]["N"]) for item in items)


# --- pages of a table


@given(items=st.integers(0, 12), segments=st.integers(1, 5), most=st.integers(1, 4), seed=st.integers(0, 9))
def test_the_segments_together_hold_each_item_once(items: int, segments: int, most: int, seed: int) -> None:
    clock = SimulatedClock()
    pages = SimulatedPages(shop(clock, items), clock, seeded(seed), most_items=most)
    assert numbers(scanned(pages, segments, consistent=True)) == list(range(items))


def test_a_limit_bounds_a_page() -> None:
    clock = SimulatedClock()
    pages = SimulatedPages(shop(clock, 9), clock, seeded(), most_items=9)
    assert all(len(pages.page("shop", 0, 1, None, limit=2).items) <= 2 for _ in range(20))


def states_seen(after_seconds: float, *, consistent: bool) -> set[int]:
    """The states of an item in many reads, the seconds given after it was written for the second time."""
    clock = SimulatedClock()
    table = shop(clock)
    clock.sleep(60)
    table.put(("C#0", "O#1"), {"n": 1})
    clock.sleep(60)
    table.put(("C#0", "O#1"), {"n": 2})
    clock.sleep(after_seconds)
    pages = SimulatedPages(table, clock, seeded())
    return {number for _ in range(50) for number in numbers(scanned(pages, consistent=consistent))}


def test_a_page_may_show_an_item_as_it_stood_a_second_before() -> None:
    assert states_seen(0.5, consistent=False) == {1, 2}


@pytest.mark.parametrize(("after_seconds", "consistent"), [(0.0, True), (11.0, False)])
def test_a_consistent_page_and_a_later_one_show_it_as_it_is(after_seconds: float, consistent: bool) -> None:
    assert states_seen(after_seconds, consistent=consistent) == {2}


def test_a_consistent_page_costs_twice_the_read_units() -> None:
    clock = SimulatedClock()
    pages = SimulatedPages(shop(clock), clock, seeded())
    assert [pages.page("shop", 0, 1, None, consistent=on).read_units for on in (False, True)] == [0.5, 1.0]


def test_a_page_says_when_its_request_began() -> None:
    clock = SimulatedClock()
    assert SimulatedPages(shop(clock), clock, seeded()).page("shop", 0, 1, None).began_micros == clock.micros


@pytest.mark.parametrize(("kind", "cause"), [("throttled", CauseKind.OVERLOADED), ("503", CauseKind.OUT_OF_REACH)])
def test_a_read_may_be_throttled_or_fail(kind: str, cause: CauseKind) -> None:
    clock = SimulatedClock()
    pages = SimulatedPages(shop(clock), clock, seeded(), Always(kind))
    for ask in (lambda: pages.page("shop", 0, 1, None), lambda: pages.describe("shop")):
        with pytest.raises(SinkUnavailable) as caught:
            ask()
        assert caught.value.cause.kind is cause


def test_a_table_that_was_made_anew_has_another_id() -> None:
    clock = SimulatedClock()
    table = shop(clock, 1)
    pages = SimulatedPages(table, clock, seeded())
    first = pages.describe("shop")
    assert (first.id, first.item_count, first.keys) == (pages.describe("shop").id, 1, ("pk", "sk"))
    assert first.stream is not None
    assert (first.stream.arn, first.view) == (table.stream.arn, StreamView.NEW_AND_OLD_IMAGES)
    table.drop()
    with pytest.raises(ConfigError, match="ResourceNotFoundException"):
        pages.describe("shop")
    table.create(None)
    again = pages.describe("shop")
    assert again.id != first.id
    assert (again.stream, again.view, again.item_count) == (None, None, 0)


# --- exports


def body(s3: SimulatedS3, key: str) -> bytes:
    return s3.objects[key].body


def test_an_export_holds_the_table_as_it_stood_then() -> None:
    clock = SimulatedClock()
    table, s3 = shop(clock, 7), SimulatedS3(clock, Always("503"))
    then = clock.micros + SECOND
    clock.sleep(60)
    table.delete(("C#0", "O#1"))
    table.put(("C#1", "O#1"), {"n": 100})
    table.put(("C#8", "O#1"), {"n": 8})
    location = SimulatedExports(table, s3, clock, seeded()).export(then)
    root = location.removeprefix("s3://exports/")
    summary = orjson.loads(body(s3, f"{root}/manifest-summary.json"))
    assert (summary["tableId"], summary["itemCount"]) == (table.id, 7)
    assert summary["exportTime"] == "2026-01-15T09:30:01.000Z"
    lines = []
    for entry in map(orjson.loads, body(s3, summary["manifestFilesS3Key"]).splitlines()):
        file = body(s3, entry["dataFileS3Key"])
        assert entry["md5Checksum"] == b64encode(hashlib.md5(file, usedforsecurity=False).digest()).decode()
        part = gzip.decompress(file).splitlines()
        assert len(part) == entry["itemCount"]
        lines += part
    assert numbers([orjson.loads(line)["Item"] for line in lines]) == list(range(7))


def test_a_table_is_not_exported_as_of_before_it_was_made() -> None:
    clock = SimulatedClock()
    exports = SimulatedExports(shop(clock), SimulatedS3(clock), clock, seeded())
    with pytest.raises(ValueError, match="made later"):
        exports.export(clock.micros - SECOND)


# --- documents


def server_with(documents: dict[str, Any], **settings: Any) -> SimulatedOpenSearch:
    server = SimulatedOpenSearch(SimulatedClock())
    server.indices.create(index="orders-v1", body={"aliases": {"orders": {}}, **settings})
    for name, source in documents.items():
        written(server, name, source, 5)
    return server


def written(server: SimulatedOpenSearch, name: str, source: Any, version: int) -> None:
    about = {"_index": "orders-v1", "_id": name, "version": version, "version_type": "external_gte"}
    line = {"delete": about} if source is None else {"index": about}
    server.bulk(body=b"\n".join([orjson.dumps(line), *([] if source is None else [source]), b""]))


def test_documents_are_read_exactly_and_once_by_slices() -> None:
    server = server_with({f"d{number}": b'{"n": 1.10}' for number in range(7)})
    reader: DocumentReader = SimulatedDocuments(server)
    found = [
        one
        for slice_ in range(3)
        for page in reader.pages("orders", slice_=slice_, slices=3, with_source=True)
        for one in page
    ]
    assert sorted(one.id for one in found) == [f"d{number}" for number in range(7)]
    assert {(one.version, one.source) for one in found} == {(5, b'{"n": 1.10}')}
    assert reader.count("orders") == 7
    assert len(reader.sample("orders", 3, seed=1)) == 3
    assert len(reader.sample("orders", 30, seed=1)) == 7


def test_pages_show_the_index_as_it_was_and_single_documents_as_they_are() -> None:
    server = server_with({f"d{number}": b"{}" for number in range(7)})
    reader = SimulatedDocuments(server)
    pages = reader.pages("orders", with_source=False)
    seen = list(next(pages))
    written(server, "d6", None, 6)
    written(server, "d5", b'{"n": 2}', 6)
    seen += [one for page in pages for one in page]
    assert {one.id: one.version for one in seen} == {f"d{number}": 5 for number in range(7)}
    gone, changed = reader.get("orders", [("d6", None), ("d5", None)])
    assert gone is None
    assert changed is not None
    assert (changed.version, changed.source) == (6, b'{"n": 2}')


def test_tombstones_are_no_documents() -> None:
    server = server_with({"alive": b"{}", "dead": b'{"_cdc_tombstone": "2026-01-15T09:10:00Z"}'})
    reader = SimulatedDocuments(server)
    assert [one.id for page in reader.pages("orders", with_source=True) for one in page] == ["alive"]
    assert reader.get("orders", [("dead", None)]) == [None]
    assert reader.count("orders") == 1


def test_each_request_may_fail() -> None:
    server = server_with({f"d{number}": b"{}" for number in range(7)})
    reader = SimulatedDocuments(server)
    pages = reader.pages("orders", with_source=False)
    next(pages)
    server.faults = Always("503")
    with pytest.raises(SinkUnavailable):
        next(pages)
    with pytest.raises(SinkUnavailable):
        reader.get("orders", [("d1", None)])
    with pytest.raises(SinkUnavailable):
        reader.count("orders")


def test_a_missing_index_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no index drafts"):
        SimulatedDocuments(server_with({})).count("drafts")
