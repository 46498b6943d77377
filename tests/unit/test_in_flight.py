"""Bulk requests under way at once: never two for one document, all ended before a round ends, outcomes in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from cdc import Applied, Change, Deadline, Deferred, Superseded
from cdc.errors import SinkMisconfigured
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.sinks.opensearch.concurrency import InFlight
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change

MOST = 3


class Server:
    """The simulated OpenSearch, which holds bulk requests until `together` of them are there."""

    def __init__(self, together: int = 1) -> None:
        self.served = SimulatedOpenSearch(SimulatedClock())
        self.indices = self.served.indices
        self.bodies: list[bytes] = []
        self.versions: int | None = None  # what it says instead of the versions it was given
        self._together = threading.Barrier(together)
        self._lock = threading.Lock()

    def hold(self, together: int) -> None:
        self._together = threading.Barrier(together)

    def bulk(self, *, body: bytes, **options: Any) -> Any:
        self._together.wait(10)
        with self._lock:
            self.bodies.append(body)
            answer = self.served.bulk(body=body, **options)
        for item in answer["items"] if self.versions is not None else ():
            item["index"]["_version"] = self.versions
        return answer

    @property
    def ids(self) -> list[list[str]]:
        """The documents that each request writes."""
        lines = [[orjson.loads(line) for line in body.splitlines()] for body in self.bodies]
        return [[line["index"]["_id"] for line in request if "index" in line] for request in lines]


def unverified_sink_of(server: Server) -> OpenSearchSink:
    mapping = parse_mapping("table: shop\ndocuments: [{index: orders}]", source="shop.yml")
    compiled, targets = compile_mapping(mapping, "shop", ["pk"]), Targets()
    prepare(server.served, compiled, change({"pk": "a"}, None, {}).stream, targets)  # type: ignore[arg-type]
    client: Any = server
    return OpenSearchSink(client, lambda _table: compiled, targets, in_flight=InFlight(MOST))


def sink_of(server: Server) -> OpenSearchSink:
    """One whose index is verified."""
    sink = unverified_sink_of(server)
    assert sink.write([change({"pk": "first"}, None, {}, sequence=1)], Deadline.after(30)) == [Applied()]
    server.bodies.clear()
    return sink


def changes(count: int, start: int = 2) -> Sequence[Change]:
    return [change({"pk": f"item-{n}"}, None, {"n": n}, sequence=start + n) for n in range(count)]


def test_a_round_is_cut_into_requests_that_are_under_way_at_once() -> None:
    server = Server()
    sink = sink_of(server)
    server.hold(MOST)  # each request waits for the others
    assert sink.write(changes(300), Deadline.after(30)) == [Applied()] * 300
    assert sorted(map(len, server.ids)) == [100, 100, 100]


def test_a_small_round_is_one_request() -> None:
    server = Server()
    sink_of(server).write(changes(99), Deadline.after(30))
    assert [len(ids) for ids in server.ids] == [99]


def test_two_requests_of_a_round_never_hold_the_same_document() -> None:
    server = Server()
    sink = sink_of(server)
    first, again = changes(300), changes(300, start=1000)
    outcomes = sink.write([*first, *again], Deadline.after(30))
    assert outcomes == [Superseded(explained=True)] * 300 + [Applied()] * 300
    sent = [one for ids in server.ids for one in ids]
    assert len(sent) == len(set(sent)) == 300


def test_outcomes_stand_in_the_order_given_whichever_request_ends_first() -> None:
    server = Server()
    sink = sink_of(server)
    newer = changes(300, start=1000)
    sink.write(newer[100:200], Deadline.after(30))
    outcomes = sink.write(changes(300), Deadline.after(30))
    assert outcomes == [Applied()] * 100 + [Superseded()] * 100 + [Applied()] * 100


def test_after_the_lease_is_lost_no_request_begins() -> None:
    server = Server()
    sink = sink_of(server)
    outcomes = sink.write(changes(300), Deadline.after(30, wanted=lambda: False))
    assert all(isinstance(outcome, Deferred) and not outcome.tried for outcome in outcomes)
    assert server.bodies == []


def test_a_target_that_ignores_versions_is_found_out_by_one_request_before_others_are_sent() -> None:
    server = Server()
    server.versions = 1
    with pytest.raises(SinkMisconfigured, match="ignores external versions"):
        unverified_sink_of(server).write(changes(300), Deadline.after(30))
    assert len(server.bodies) == 1


def test_a_failure_is_raised_when_all_requests_have_ended() -> None:
    ended: list[int] = []

    def call(part: int) -> int:
        if part == 0:
            raise SinkMisconfigured("opensearch", "it can't be used")
        ended.append(part)
        return part

    with pytest.raises(SinkMisconfigured):
        InFlight(MOST).each(call, range(6))
    assert sorted(ended) == [1, 2, 3, 4, 5]


def test_one_at_a_time_needs_no_thread() -> None:
    assert set(InFlight(1).each(lambda _part: threading.get_ident(), range(5))) == {threading.get_ident()}
