"""What every sink promises, asked of each: the one in memory, OpenSearch and S3, real and simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Outcome, Sink, Superseded
from cdc.archive import read_archive
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.outcome import settled
from cdc.sinks.archive_s3 import S3Archive
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import MemorySink, SimulatedClock, SimulatedOpenSearch, SimulatedS3, change


@dataclass
class Destination:
    """A way to make sinks onto one destination, and to look at what it holds."""

    sink: Callable[[], Sink]
    holds: Callable[[], Any]


@pytest.fixture(params=["memory", "simulated opensearch", "simulated s3", "opensearch", "s3"])
def destination(request: pytest.FixtureRequest) -> Destination:
    maker: Callable[[pytest.FixtureRequest], Destination] = {
        "memory": _memory,
        "simulated opensearch": lambda _: _index(SimulatedOpenSearch(SimulatedClock()), "orders"),
        "simulated s3": lambda _: _archive(SimulatedS3(SimulatedClock(), page_size=2), "archive"),
        "opensearch": lambda asked: _index(asked.getfixturevalue("opensearch"), asked.getfixturevalue("index")),
        "s3": lambda asked: _archive(asked.getfixturevalue("aws")("s3"), asked.getfixturevalue("bucket")),
    }[request.param]
    return maker(request)


def _memory(_request: pytest.FixtureRequest) -> Destination:
    sink = MemorySink()
    return Destination(lambda: sink, lambda: sink.items)


def _index(client: Any, index: str) -> Destination:
    compiled = compile_mapping(
        parse_mapping(f"table: shop\ndocuments: [{{index: {index}}}]", source="shop.yml"), "shop", ["pk"]
    )
    targets = Targets()
    prepare(client, compiled, batch()[0].stream, targets)

    def holds() -> Any:
        client.indices.refresh(index=index)
        hits = client.search(index=index, params={"version": "true", "size": 100})["hits"]["hits"]
        return {hit["_id"]: hit["_source"] for hit in hits}

    return Destination(lambda: OpenSearchSink(client, lambda _table: compiled, targets), holds)


def _archive(client: Any, bucket: str) -> Destination:
    mapping = parse_mapping("table: shop", source="shop.yml")
    return Destination(
        lambda: S3Archive(client, bucket, lambda _table: mapping),
        lambda: [archived.line for archived in read_archive(client, bucket, "cdc")],
    )


def batch() -> list[Change]:
    """Several changes of few items, one of which is removed and one re-made."""
    steps: list[tuple[str, Any, Any]] = [
        ("a", None, {"n": 1}),
        ("b", None, {"n": 2}),
        ("a", {"n": 1}, {"n": 3}),
        ("c", None, {"n": 4}),
        ("b", {"n": 2}, None),
        ("a", {"n": 3}, {"n": 5, "tags": {"x", "y"}}),
        ("c", {"n": 4}, None),
        ("c", None, {"n": 12345678901234567890123456789012345678}),
    ]
    return [
        change({"pk": pk}, before, after, sequence=(number + 1) * 10**20)
        for number, (pk, before, after) in enumerate(steps)
    ]


def written(destination: Destination, changes: list[Change]) -> list[Outcome]:
    sink = destination.sink()
    outcomes = list(sink.write(changes, Deadline.after(30)))
    sink.flush(Deadline.after(30))
    sink.close()
    return outcomes


def test_there_is_one_settled_outcome_a_change(destination: Destination) -> None:
    outcomes = written(destination, batch())
    assert len(outcomes) == len(batch())
    assert all(settled(outcome) for outcome in outcomes)
    assert {type(outcome) for outcome in outcomes} <= {Applied, Superseded}


def test_no_changes_have_no_outcomes(destination: Destination) -> None:
    assert written(destination, []) == []


def test_replaying_a_batch_leaves_the_destination_as_it_was(destination: Destination) -> None:
    written(destination, batch())
    before = destination.holds()
    assert before
    assert all(settled(outcome) for outcome in written(destination, batch()))
    assert destination.holds() == before


def test_the_cut_of_batches_makes_no_difference(destination: Destination) -> None:
    changes = batch()
    for one in changes:
        written(destination, [one])
    one_by_one = destination.holds()
    written(destination, changes)
    written(destination, changes[3:])
    assert destination.holds() == one_by_one


def test_an_older_change_never_overwrites_a_newer_state(destination: Destination) -> None:
    changes = batch()
    written(destination, changes)
    newest = destination.holds()
    for one in reversed(changes):
        written(destination, [one])
    assert destination.holds() == newest


def test_closing_twice_is_harmless(destination: Destination) -> None:
    sink = destination.sink()
    sink.close()
    sink.close()
    assert all(settled(outcome) for outcome in written(destination, batch()))
