"""Every document goes to both members of a real index that is rebuilt, and a swap of its alias loses none."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from cdc import Deadline
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.outcome import Applied, Deferred, Outcome, Superseded
from cdc.records.change import Change
from cdc.sinks.opensearch.fresh_members import FreshMembers
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.members import FRESH_SECONDS, Members
from cdc.sinks.opensearch.purge import purge
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change
from tests.members import join, leave, new_member

NOW = 1_770_000_000.0


def mapping(index: str, document: str = "") -> CompiledMapping:
    text = f"table: shop\ndocuments:\n  - {{index: {index}{document}}}\n"
    return compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"])


@dataclass
class Process:
    """A consumer with a mapping file of its own. Its clock is the test's."""

    client: OpenSearch
    compiled: CompiledMapping
    time: float = 0.0
    targets: Targets = field(default_factory=Targets)

    def __post_init__(self) -> None:
        prepare(self.client, self.compiled, change({"pk": "a"}).stream, self.targets)
        members = Members(self.client, self.targets, clock=lambda: self.time, now=lambda: self.time)
        self.sink = FreshMembers(self._sink, lambda _table: self.compiled, members)

    def _sink(self, mapping_of: Any, may_send: Callable[[], bool]) -> OpenSearchSink:
        return OpenSearchSink(self.client, mapping_of, self.targets, may_send=may_send)

    def write(self, *changes: Change) -> list[Outcome]:
        return list(self.sink.write(changes, Deadline.after(30)))


def put(name: str, number: int, **item: Any) -> Change:
    return change({"pk": name}, None, {"n": number, **item}, sequence=number * 10**20)


def documents(client: OpenSearch, index: str) -> dict[str, tuple[int, dict[str, Any]]]:
    client.indices.refresh(index=index)
    hits = client.search(index=index, body={"size": 1000, "version": True})["hits"]["hits"]
    return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}


def swap(client: Any, index: str) -> None:
    actions = [
        {"remove": {"index": f"{index}-v1", "alias": index, "must_exist": True}},
        {"add": {"index": f"{index}-v2", "alias": index}},
    ]
    client.indices.update_aliases(body={"actions": actions})


def test_an_index_is_rebuilt_under_processes_of_the_old_and_of_the_new_mapping(
    opensearch: OpenSearch, index: str
) -> None:
    old, new = mapping(index), mapping(index, ", fields: {rename: {n: number}}")
    one = Process(opensearch, old)
    assert one.write(put("a", 1), put("b", 2)) == [Applied()] * 2
    new_member(opensearch, new, change({"pk": "a"}).stream, index=index, now=NOW)
    join(opensearch, index=index)
    one.time += FRESH_SECONDS
    two = Process(opensearch, new)  # admitted, for it brings the new one's
    assert one.write(put("c", 3), change({"pk": "b"}, {"n": 2}, None, sequence=4 * 10**20)) == [Applied()] * 2
    assert two.write(put("d", 5, **{"": 1})) == [Applied()]  # a name that no index takes is set aside in both
    for concrete, name in ((f"{index}-v1", "n"), (f"{index}-v2", "number")):
        found = documents(opensearch, concrete)
        assert sorted(found) == ["a", "c", "d"][concrete.endswith("2") :]
        assert found["c"][1] == {"pk": "c", name: 3}
        assert found["d"][1][name] == 5
        assert found["d"][1]["_cdc_aside_names"] == [""]
    swap(opensearch, index)
    assert one.write(put("e", 6)) == two.write(put("f", 7)) == [Applied()]
    assert {"e", "f"} <= documents(opensearch, f"{index}-v1").keys() & documents(opensearch, f"{index}-v2").keys()
    leave(opensearch, f"{index}-v2")
    for process in (one, two):
        process.time += FRESH_SECONDS
    opensearch.indices.delete(index=f"{index}-v1")
    assert one.write(put("g", 8)) == [Applied()]
    assert documents(opensearch, index)["g"][1] == {"pk": "g", "number": 8}
    assert not opensearch.indices.exists(index=f"{index}-v1")


def test_changes_that_are_written_while_the_alias_moves_reach_both(opensearch: OpenSearch, index: str) -> None:
    compiled = mapping(index)
    processes = [Process(opensearch, compiled) for _ in range(2)]
    new_member(opensearch, compiled, change({"pk": "a"}).stream, index=index, now=NOW)
    join(opensearch, index=index)
    moved = Event()

    def work(process: Process, number: int) -> None:
        while not moved.is_set():
            process.time += FRESH_SECONDS
            number += 2
            assert process.write(put(f"item {number % 7}", number))[0] in (Applied(), Superseded())

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(work, process, number) for number, process in enumerate(processes, 1)]
        try:
            swap(opensearch, index)
        finally:
            moved.set()
        for one in running:
            one.result()
    assert documents(opensearch, f"{index}-v1") == documents(opensearch, f"{index}-v2")


@pytest.mark.parametrize("gone", ["put", "delete"])
def test_a_member_that_is_gone_is_not_made_anew(opensearch: OpenSearch, index: str, gone: str) -> None:
    compiled = mapping(index)
    process = Process(opensearch, compiled)
    new_member(opensearch, compiled, change({"pk": "a"}).stream, index=index, now=NOW)
    join(opensearch, index=index)
    assert process.write(put("a", 1)) == [Applied()]
    opensearch.indices.delete(index=f"{index}-v2")
    late = put("a", 2) if gone == "put" else change({"pk": "a"}, {"n": 1}, None, sequence=2 * 10**20)
    (outcome,) = process.write(late)
    assert isinstance(outcome, Deferred)
    assert f"{index}-v2 has vanished" in outcome.cause.text
    assert process.write(late) == [Applied()]
    assert not opensearch.indices.exists(index=f"{index}-v2")


def test_tombstones_of_both_members_are_purged(opensearch: OpenSearch, index: str) -> None:
    compiled = mapping(index, ", on_remove: tombstone")
    process = Process(opensearch, compiled)
    new_member(opensearch, compiled, change({"pk": "a"}).stream, index=index, now=NOW)
    join(opensearch, index=index)
    process.write(put("a", 1))
    process.write(change({"pk": "a"}, {"n": 1}, None, sequence=2 * 10**20))
    opensearch.indices.refresh(index=f"{index}-v2")
    assert opensearch.count(index=f"{index}-v2")["count"] == 1
    later = datetime.now(UTC) + timedelta(days=2)
    assert purge(opensearch, index, timedelta(hours=25), later) == 2


def test_a_swap_of_an_alias_that_somebody_moved_is_refused_as_the_simulated_server_refuses_it(
    opensearch: OpenSearch, index: str
) -> None:
    simulated = SimulatedOpenSearch(SimulatedClock())
    said = []
    for client in (opensearch, simulated):
        for number in (1, 2):
            client.indices.create(index=f"{index}-v{number}")
        with pytest.raises(NotFoundError) as refused:
            swap(client, index)
        said.append((refused.value.status_code, refused.value.error))
        assert not client.indices.exists_alias(name=index)
    assert said[0] == said[1]
