"""The KCL's real shard consumers in the simulated KCL."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from cdc.causes import Cause
from cdc.deadline import Deadline
from cdc.delivery.pipeline import Pipeline
from cdc.delivery.shard import Running, ShardConsumer, ShardSettings
from cdc.outcome import Applied, Deferred, Outcome, Rejected
from cdc.records.change import Change
from cdc.records.decoding import read_adapter
from cdc.records.stream import Stream
from cdc.testing import (
    MemorySink,
    ScriptedSink,
    SimulatedKcl,
    SimulatedStop,
    SimulatedWorker,
)
from tests.unit.simulated import World, drain, seeded


@dataclass
class Fleet:
    """Real shard consumers over one sink each, in a simulated KCL."""

    world: World
    sink: MemorySink | ScriptedSink
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kcl = SimulatedKcl(self.world.table, [], self.world.clock, seeded(), max_batch=4, lag_seconds=1.0)

    def start(self, name: str) -> None:
        running = Running(stop=SimulatedStop(self.kcl.pause_now))
        self.running.append(running)

        def make(arn: str, shard: str, holds_lease: Callable[[], bool]) -> ShardConsumer:
            stream = Stream.dynamodb(arn)
            return ShardConsumer(
                shard=shard,
                table=stream.table,
                pipeline=Pipeline(self.sink, None),
                read=lambda given: [read_adapter(one.data, stream) for one in given],
                settings=ShardSettings(flush_bytes=1, flush_seconds=30.0),
                running=running,
                holds_lease=holds_lease,
                observe=lambda _: None,
                clock=self.world.clock,
            )

        self.kcl.start(SimulatedWorker(name, make))


def held(world: World) -> dict[str, int]:
    return {digest: int(item["total"]["N"]) for digest, item in world.table.items.items()}


def test_two_consumers_and_a_zombie_leave_the_sink_as_the_table_is() -> None:
    world = World(40, items=5, shards=2)
    sink = MemorySink()
    fleet = Fleet(world, sink)
    fleet.start("a")
    fleet.start("b")
    freezes = iter([False, False, True])
    write = sink.write

    def frozen_write(changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        if next(freezes, False):
            fleet.kcl.freeze_now(40.0)
        return write(changes, deadline)

    sink.write = frozen_write  # type: ignore[method-assign]
    world.table.stream.split(world.table.shards[0])
    world.write(20)
    drain(fleet.kcl)
    assert {digest: item["total"] for digest, item in sink.items.items()} == held(world)
    assert fleet.kcl.finished
    assert [running.failure for running in fleet.running] == [None, None]
    assert fleet.kcl.skipped_batches == 0


def test_a_deferred_change_holds_its_shard_while_simulated_time_passes() -> None:
    world = World(6, items=2)
    until = world.clock() + 120

    def script(change: Change) -> Outcome:
        return Deferred(Cause("not yet")) if world.clock() < until else Applied()

    sink = ScriptedSink(script)
    fleet = Fleet(world, sink)
    fleet.start("a")
    drain(fleet.kcl)
    assert world.clock() >= until
    assert fleet.kcl.finished
    assert list(dict.fromkeys(str(change.identity) for change in sink.written)) == world.identities


def test_a_rejected_change_without_a_store_is_never_acknowledged() -> None:
    world = World(3)
    fleet = Fleet(world, ScriptedSink(lambda _: Rejected(Cause("never"))))
    fleet.start("a")
    crash = world.clock() + 300
    fleet.kcl.meanwhile = lambda: fleet.kcl.crash_now() if world.clock() > crash else None
    drain(fleet.kcl)
    assert not fleet.kcl.finished
    assert [lease.checkpoint for lease in fleet.kcl.leases.values()] == [None]


def _disturb(fleet: Fleet, chance: random.Random) -> None:
    worker = chance.choice(fleet.kcl.workers).id
    match chance.randrange(6):
        case 0:
            fleet.kcl.crash(worker)
            fleet.start(worker)
        case 1:
            fleet.kcl.crash(worker)
            fleet.start(f"instead of {worker}")
        case 2:
            fleet.kcl.hand_over(worker)
            fleet.start(f"after {worker}")
        case 3:
            fleet.kcl.freeze(worker, 25.0)
        case 4:
            fleet.world.table.stream.split(fleet.world.table.stream.open_shards[0])
        case 5:
            fleet.world.table.disable_stream()
            fleet.world.clock.sleep(60.0)
            fleet.world.table.enable_stream()


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_workers_and_shards_every_change_arrives_and_is_acknowledged(seed: int) -> None:
    chance, world = seeded(seed), World(10, items=6, shards=2)
    sink = ScriptedSink(lambda _: Applied())
    fleet = Fleet(world, sink)
    fleet.start("a")
    fleet.start("b")
    for _ in range(60):
        world.write(chance.randrange(4))
        fleet.kcl.step()
        if chance.random() < 0.15:
            _disturb(fleet, chance)
    drain(fleet.kcl)
    assert fleet.kcl.finished
    assert {str(change.identity) for change in sink.written} == set(world.identities)
    first = list(dict.fromkeys((change.stream.arn, change.identity.digest, change.sequence) for change in sink.written))
    by_item = defaultdict(list)
    for arn, digest, sequence in first:
        by_item[arn, digest].append(sequence)
    assert all(numbers == sorted(numbers) for numbers in by_item.values())
