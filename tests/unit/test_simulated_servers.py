"""The simulated OpenSearch and S3: what time and faults do to them, the same for the same seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from opensearchpy import helpers
from opensearchpy.exceptions import ConnectionError as NoConnection
from opensearchpy.exceptions import (
    ConnectionTimeout,
    NotFoundError,
    OpenSearchException,
    SerializationError,
    TransportError,
)

from cdc import Applied, Deadline, Deferred, Outcome, Rejected
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.sinks.opensearch.bodies import index_body
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import Always, Faults, SimulatedClock, SimulatedOpenSearch, SimulatedS3, change


def put(identifier: str, version: int, source: Any = None, index: str = "i", **about: Any) -> bytes:
    external = {"_index": index, "_id": identifier, "version": version, "version_type": "external_gte", **about}
    return orjson.dumps({"index": external}) + b"\n" + orjson.dumps(source or {"n": version}) + b"\n"


def delete(identifier: str, version: int, index: str = "i") -> bytes:
    external = {"_index": index, "_id": identifier, "version": version, "version_type": "external_gte"}
    return orjson.dumps({"delete": external}) + b"\n"


def statuses(server: SimulatedOpenSearch, *operations: bytes) -> list[int]:
    items = server.bulk(body=b"".join(operations), params={"request_timeout": 5})["items"]
    return [answer["status"] for item in items for answer in item.values()]


def server_with(kind: str) -> tuple[SimulatedOpenSearch, SimulatedClock]:
    """A server that holds `a` at version 5, and fails in one way from now on."""
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock)
    server.bulk(body=put("a", 5))
    server.faults = Always(kind)
    return server, clock


def versions(server: SimulatedOpenSearch) -> dict[str, int]:
    return {identifier: version for identifier, (version, _) in server.documents("i").items()}


@pytest.mark.parametrize(("setting", "seconds"), [({}, 60), ({"gc_deletes": "20m"}, 1200)])
def test_a_delete_is_remembered_for_gc_deletes(setting: dict[str, str], seconds: float) -> None:
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock)
    server.indices.create(index="i", body={"settings": {"index": setting}})
    statuses(server, put("a", 5), delete("a", 6))
    clock.sleep(seconds)
    assert statuses(server, put("a", 5)) == [409]
    clock.sleep(0.001)
    assert statuses(server, put("a", 5)) == [201]


def test_a_restart_forgets_deletes_and_keeps_documents() -> None:
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock)
    statuses(server, put("a", 5), delete("a", 6), put("b", 7))
    server.restart(down_seconds=3)
    with pytest.raises(NoConnection):
        statuses(server, put("a", 5))
    with pytest.raises(NoConnection):
        server.indices.exists(index="i")
    clock.sleep(3)
    assert statuses(server, put("a", 5), put("b", 6)) == [201, 409]


def test_an_index_that_vanishes_takes_its_alias_and_versions_with_it() -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    server.indices.create(index="i-v1", body={"aliases": {"i": {}}})
    assert statuses(server, put("a", 5, require_alias=True)) == [201]
    assert server.versions_ever == {("i-v1", "a"): 5}
    server.vanish("i")
    assert statuses(server, put("a", 5, require_alias=True)) == [404]
    assert (server.documents("i"), server.versions_ever) == ({}, {})
    assert statuses(server, delete("a", 5)) == [404]
    assert server.indices.exists(index="i")


@pytest.mark.parametrize(("kind", "status"), [("write", 403), ("read_only", 403), ("read_only_allow_delete", 429)])
def test_a_block_refuses_writes_until_it_is_lifted(kind: str, status: int) -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    statuses(server, put("a", 5))
    server.block("i", True, kind=kind)
    assert statuses(server, put("a", 6)) == [status]
    server.block("i", False, kind=kind)
    assert statuses(server, put("a", 6)) == [200]


def test_an_observer_sees_each_write_with_what_was_there_before() -> None:
    seen: list[Any] = []
    server = SimulatedOpenSearch(SimulatedClock(), on_write=lambda *write: seen.append(write))
    statuses(server, put("a", 5), put("a", 4), delete("a", 6), put("a", 6), delete("b", 1))
    assert seen == [
        ("i", "a", None, (5, {"n": 5})),
        ("i", "a", (5, {"n": 5}), (6, None)),
        ("i", "a", (6, None), (6, {"n": 6})),
        ("i", "b", None, (1, None)),
    ]
    assert server.versions_ever == {("i", "a"): 6, ("i", "b"): 1}


def test_a_checker_sees_numbers_exactly() -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    server.indices.create(index="i", body=index_body({}))
    line = put("a", 5).splitlines()[0]
    server.bulk(body=line + b'\n{"big": 12345678901234567890123456789012345678, "tiny": -1E-130, "list": [0.10]}\n')
    assert server.documents("i") == {
        "a": (5, {"big": 12345678901234567890123456789012345678, "tiny": Decimal("-1E-130"), "list": [Decimal("0.10")]})
    }


def test_a_document_that_the_hook_refuses_fails_alone() -> None:
    server = SimulatedOpenSearch(
        SimulatedClock(), rejects=lambda source: "mapper_parsing_exception" if "poison" in source else None
    )
    answer = server.bulk(body=put("a", 5) + put("b", 5, {"poison": 1}) + put("c", 5))
    assert answer["errors"]
    assert answer["items"][1]["index"]["error"]["type"] == "mapper_parsing_exception"
    assert versions(server) == {"a": 5, "c": 5}


def test_what_is_scanned_by_the_client_s_helper_is_everything() -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    statuses(server, *(put(f"k{number}", 5) for number in range(25)))
    found = helpers.scan(server, index="i", size=10)
    assert {hit["_id"] for hit in found} == {f"k{number}" for number in range(25)}


@pytest.mark.parametrize(("kind", "status"), [("request 429", 429), ("503", 503)])
def test_a_refused_request_writes_nothing(kind: str, status: int) -> None:
    server, _ = server_with(kind)
    with pytest.raises(TransportError) as caught:
        statuses(server, put("a", 6))
    assert caught.value.status_code == status
    assert versions(server) == {"a": 5}


def test_a_busy_server_refuses_some_items_and_writes_the_others() -> None:
    server, _ = server_with("item 429")
    found = statuses(server, *(put(f"k{number}", 5) for number in range(20)))
    assert set(found) == {201, 429}
    assert len(versions(server)) == 1 + found.count(201)


@pytest.mark.parametrize(("kind", "version"), [("timeout, written", 6), ("timeout, not written", 5)])
def test_a_request_that_times_out_has_written_or_has_not(kind: str, version: int) -> None:
    server, clock = server_with(kind)
    before = clock()
    with pytest.raises(ConnectionTimeout):
        statuses(server, put("a", 6))
    assert clock() == before + 5
    clock.sleep(1000)
    assert versions(server) == {"a": version}


def test_a_request_given_up_may_arrive_later_and_then_meets_what_is_there_by_then() -> None:
    server, clock = server_with("timeout, written late")
    with pytest.raises(ConnectionTimeout):
        statuses(server, put("a", 6), put("b", 6))
    assert versions(server) == {"a": 5}
    server.faults = None
    statuses(server, put("a", 7))
    clock.sleep(90)
    assert versions(server) == {"a": 7, "b": 6}


def test_a_late_request_brings_a_document_back_whose_delete_is_forgotten() -> None:
    server, clock = server_with("timeout, written late")
    with pytest.raises(ConnectionTimeout):
        statuses(server, put("a", 6))
    server.faults = None
    statuses(server, delete("a", 7))
    server.restart()
    clock.sleep(90)
    assert versions(server) == {"a": 6}


def test_a_torn_connection_leaves_a_leading_part_written() -> None:
    clock, written = SimulatedClock(), set()
    for seed in range(40):
        server = SimulatedOpenSearch(clock, Faults(seed, rate=1.0))
        try:
            statuses(server, *(put(f"k{number}", 5) for number in range(5)))
        except NoConnection as error:
            if not isinstance(error, ConnectionTimeout):
                found = sorted(server.documents("i"))
                assert found == [f"k{number}" for number in range(len(found))]
                written.add(len(found))
        except OpenSearchException:
            continue
    assert len(written) > 2


def test_an_answer_that_is_cut_says_nothing_of_what_was_written() -> None:
    server, _ = server_with("garbled answer")
    with pytest.raises(SerializationError):
        statuses(server, put("a", 6))
    assert versions(server) == {"a": 6}


@pytest.mark.parametrize("kind", ["503", "timeout"])
def test_a_look_at_an_index_may_fail_too(kind: str) -> None:
    server, _ = server_with(kind)
    with pytest.raises(TransportError):
        server.indices.exists(index="i")
    with pytest.raises(TransportError):
        server.search(index="i")


def opensearch_run(seed: int) -> tuple[list[str], dict[str, int], dict[str, int]]:
    clock, faults = SimulatedClock(), Faults(seed, rate=0.5)
    server, seen = SimulatedOpenSearch(clock, faults), []
    for number in range(100):
        try:
            seen.append(str(statuses(server, *(put(f"k{key}", number * 10 + key) for key in range(4)))))
        except OpenSearchException as error:
            seen.append(repr(error))
    clock.sleep(100)
    return seen, versions(server), dict(faults.counts)


def s3_run(seed: int) -> tuple[list[str], list[tuple[float, str]], dict[str, int]]:
    clock, faults = SimulatedClock(), Faults(seed, rate=0.5)
    s3, seen = SimulatedS3(clock, faults), []
    for number in range(100):
        try:
            s3.put_object(Bucket="b", Key=f"k{number % 7}", Body=str(number).encode(), IfNoneMatch="*")
            seen.append(str(s3.list_objects_v2(Bucket="b")["KeyCount"]))
        except (ClientError, BotoCoreError) as error:
            seen.append(repr(error))
    clock.sleep(100)
    return seen, s3.puts, dict(faults.counts)


@pytest.mark.parametrize("run", [opensearch_run, s3_run])
def test_the_same_seed_brings_the_same_faults(run: Callable[[int], Any]) -> None:
    assert run(7) == run(7)
    assert run(7) != run(8)


def test_every_kind_of_fault_comes() -> None:
    assert set(opensearch_run(1)[2]) == {
        "opensearch: request 429",
        "opensearch: item 429",
        "opensearch: 503",
        "opensearch: timeout, written",
        "opensearch: timeout, not written",
        "opensearch: timeout, written late",
        "opensearch: torn connection",
        "opensearch: garbled answer",
    }
    assert set(s3_run(1)[2]) >= {
        "s3 put: 503",
        "s3 put: 409",
        "s3 put: timeout, written",
        "s3 put: timeout, not written",
        "s3 put: timeout, written late",
        "s3 list: 503",
    }


def sink_on(server: SimulatedOpenSearch, rule: str = "on_remove: delete") -> OpenSearchSink:
    """The real sink, on an index that it has made."""
    text = f"table: shop\ndocuments: [{{index: orders, {rule}}}]"
    compiled = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"])
    client: Any = server
    targets = Targets()
    prepare(client, compiled, change({"pk": "a"}).stream, targets)
    return OpenSearchSink(client, lambda _table: compiled, targets)


def outcomes(sink: OpenSearchSink, clock: SimulatedClock) -> list[type[Outcome]]:
    changes = [change({"pk": f"k{number}"}, None, {"n": number}, sequence=10**20) for number in range(6)]
    return [type(outcome) for outcome in sink.write(changes, Deadline.after(30, clock=clock))]


@pytest.mark.parametrize(
    "kind",
    ["request 429", "503", "timeout, written", "timeout, not written", "timeout, written late", "garbled answer"],
)
def test_the_sink_defers_what_a_fault_leaves_open(kind: str) -> None:
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock)
    sink = sink_on(server)
    server.faults = Always(kind)
    assert outcomes(sink, clock) == [Deferred] * 6
    server.faults = None
    assert outcomes(sink, clock) == [Applied] * 6
    clock.sleep(100)
    assert {identifier: source["n"] for identifier, (_, source) in server.documents("orders").items()} == {
        f"k{number}": number for number in range(6)
    }


def test_the_sink_rejects_poison_alone() -> None:
    clock = SimulatedClock()
    server = SimulatedOpenSearch(
        clock, rejects=lambda source: "illegal_argument_exception" if source["n"] == 3 else None
    )
    assert outcomes(sink_on(server, "on_unfit: dead_letter"), clock) == [Applied] * 3 + [Rejected] + [Applied] * 2


def test_tombstones_are_documents_that_searches_do_not_show() -> None:
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock)
    sink = sink_on(server, rule="on_remove: tombstone")
    removed = change({"pk": "a"}, {"n": 1}, None, sequence=10**20)
    assert list(sink.write([removed], Deadline.after(30, clock=clock))) == [Applied()]
    assert server.count(index="orders")["count"] == 0
    assert list(server.documents("orders")) == ["a"]


def test_a_missing_index_is_the_client_s_own_exception() -> None:
    with pytest.raises(NotFoundError):
        SimulatedOpenSearch(SimulatedClock()).search(index="none")


def test_no_time_passes_but_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"slept {seconds} real seconds"))
    clock = SimulatedClock()
    server, s3 = SimulatedOpenSearch(clock, Always("timeout, written")), SimulatedS3(clock, Always("timeout, written"))
    for _ in range(100):
        with pytest.raises(ConnectionTimeout):
            server.bulk(body=put("a", 5))
        with pytest.raises(ReadTimeoutError):
            s3.put_object(Bucket="b", Key="a", Body=b"1")
    assert clock() == SimulatedClock()() + 2000
