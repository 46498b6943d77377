"""The local event source mapping gathers batches as Lambda does; the rules after that are the simulated one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from cdc.testing.simulated.batches import BatchRules, Shard
from local.event_source_mapping import LocalEventSourceMapping
from tests.unit.simulated import World


@dataclass
class Function:
    """Acknowledges all; `batches` is what it was given, by sequence numbers."""

    batches: list[list[str]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    first_records: list[Any] = field(default_factory=list)

    def __call__(self, event: dict[str, Any]) -> Any:
        self.first_records.append(event["Records"][0])
        self.batches.append([record["dynamodb"]["SequenceNumber"] for record in event["Records"]])
        answer = self.answers.pop(0) if self.answers else {"batchItemFailures": []}
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Polled:
    """A table's streams in memory."""

    world: World

    @property
    def shards(self) -> Sequence[Shard]:
        return self.world.table.shards

    def poll(self) -> None:
        """All that is written is there."""


def mapping(world: World, function: Function, window_seconds: float = 0.0, **rules: Any) -> LocalEventSourceMapping:
    return LocalEventSourceMapping(
        function, Polled(world), BatchRules(**rules), window_seconds=window_seconds, now=world.clock
    )


def drain(local: LocalEventSourceMapping) -> None:
    while local.step():
        pass


def numbers(world: World) -> list[str]:
    return [write.sequence for write in world.table.history]


def test_a_backlog_is_delivered_in_full_batches_and_a_rest() -> None:
    world, function = World(25), Function()
    local = mapping(world, function, batch_size=10)
    drain(local)
    assert [len(batch) for batch in function.batches] == [10, 10, 5]
    assert [number for batch in function.batches for number in batch] == numbers(world)
    assert local.settled == 25


def test_a_batch_that_is_not_full_waits_for_its_window() -> None:
    world, function = World(3), Function()
    local = mapping(world, function, batch_size=10, window_seconds=5)
    assert not local.step()
    world.clock.sleep(4)
    world.write(2)
    assert not local.step()
    world.clock.sleep(1)
    drain(local)
    assert [len(batch) for batch in function.batches] == [5]


def test_a_full_batch_and_the_end_of_a_shard_do_not_wait() -> None:
    world, function = World(10), Function()
    local = mapping(world, function, batch_size=7, window_seconds=5)
    drain(local)
    assert [len(batch) for batch in function.batches] == [7]
    world.table.stream.split(world.table.shards[0])
    drain(local)
    assert [len(batch) for batch in function.batches] == [7, 3]


def test_a_batch_is_cut_before_it_is_larger_than_an_event_may_be() -> None:
    world, function = World(0), Function()
    for number in range(20):
        world.table.put((f"k{number}", "x"), {"blob": "x" * 390_000})
    drain(mapping(world, function, batch_size=100, window_seconds=0))
    assert [len(batch) for batch in function.batches] == [16, 4]


def test_a_failed_batch_comes_again_after_a_wait_and_a_partial_answer_moves_on() -> None:
    world = World(6)
    third = numbers(world)[2]
    function = Function(answers=[RuntimeError("down"), {"batchItemFailures": [{"itemIdentifier": third}]}])
    local = mapping(world, function, batch_size=10)
    assert local.step()
    assert not local.step()
    world.clock.sleep(1)
    assert local.step()
    assert local.settled == 2
    assert not local.step()
    world.clock.sleep(2)
    drain(local)
    assert [len(batch) for batch in function.batches] == [6, 6, 4]
    assert function.batches[2][0] == third


def test_records_over_the_age_limit_are_given_up_without_an_invocation() -> None:
    world, function = World(4), Function()
    local = mapping(world, function, max_record_age_seconds=3600, batch_size=3)
    world.clock.sleep(3601)
    world.write(2)
    drain(local)
    assert [number for batch in function.batches for number in batch] == numbers(world)[4:]
    assert (local.counts["too old"], local.settled) == (4, 6)


def test_shards_take_turns() -> None:
    world, function = World(0, items=30), Function()
    world.table.stream.split(world.table.shards[0])
    world.write(40)
    drain(mapping(world, function, batch_size=2))
    shard_of = {id(record.record): shard.id for shard in world.table.shards for record in shard.records}
    order = [shard_of[id(first)] for first in function.first_records]
    assert order[0] != order[1]
    assert order[0] == order[2]


def test_more_than_one_lane_a_shard_is_refused() -> None:
    with pytest.raises(ValueError, match="one invocation at a time"):
        mapping(World(1), Function(), parallelization_factor=2)
