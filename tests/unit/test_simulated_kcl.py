"""The simulated KCL behaves as the KCL does: order, checkpoints, crashes, hand-over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cdc.delivery.shard import Checkpoint, Payload
from cdc.records.decoding import read_adapter
from cdc.records.stream import Stream
from cdc.testing import (
    Gap,
    SimulatedKcl,
    SimulatedWorker,
)
from tests.unit.simulated import Kcl, Processor, World, drain, flat, seeded


def test_the_kcl_delivers_each_shard_in_order_and_acknowledges_it() -> None:
    world = World(30, shards=2, items=8)
    workers = Kcl(world, "a", "b")
    drain(workers.kcl)
    assert sorted(workers.numbers()) == sorted(write.sequence for write in world.table.history)
    for shard in world.table.shards:
        held = [batch for _, what, batch in workers.log if what == "process"]
        assert len(held) >= 2
        assert workers.kcl.leases[shard.stream_arn, shard.id].checkpoint == shard.records[-1].number
    assert workers.kcl.finished


def test_the_kcl_reads_a_parent_to_its_checkpointed_end_before_its_children() -> None:
    world = World(20)
    parent = world.table.shards[0]
    world.table.stream.split(parent)
    world.write(20)
    workers = Kcl(world, "a", "b")
    drain(workers.kcl)
    ended = workers.log.index(next(entry for entry in workers.log if entry[1:] == ("ended", parent.id)))
    before = flat([batch for _, what, batch in workers.log[:ended] if what == "process"])
    assert before == [record.sequence for record in parent.records]
    assert len(workers.numbers()) == 40
    assert workers.kcl.leases[parent.stream_arn, parent.id].ended


def test_the_kcl_reads_old_and_new_streams_of_a_table() -> None:
    world = World(5)
    world.table.disable_stream()
    world.table.enable_stream()
    world.write(5)
    workers = Kcl(world, "a")
    drain(workers.kcl)
    assert len(workers.numbers()) == 10
    assert workers.events("ended") == [("a", "ended")]


def test_after_a_crash_another_worker_resumes_at_the_checkpoint_when_the_lease_has_expired() -> None:
    world = World(20)
    workers = Kcl(world, "a", max_batch=3)
    for _ in range(3):
        workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    checkpoint = lease.checkpoint
    assert checkpoint is not None
    workers.checkpoints = False
    workers.kcl.crash("a")
    assert not workers.kcl.step()  # nobody is there
    workers.kcl.start(workers.worker("b"))
    crashed = world.clock()
    drain(workers.kcl)
    assert world.clock() >= crashed + 10.0
    assert [int(number) for number in workers.numbers("b")] == [
        write_number for write in world.table.history if (write_number := int(write.sequence)) > checkpoint
    ]
    assert "lost" not in {what for _, what, _ in workers.log}


def test_a_worker_restarted_under_its_id_has_its_leases_at_once() -> None:
    world = World(20)
    workers = Kcl(world, "a", max_batch=3)
    for _ in range(3):
        workers.kcl.step()
    workers.kcl.crash("a")
    workers.kcl.start(workers.worker("a"))
    crashed = world.clock()
    drain(workers.kcl)
    assert world.clock() == crashed
    assert workers.numbers() == [write.sequence for write in world.table.history]


def test_what_was_not_checkpointed_before_a_crash_comes_again() -> None:
    world = World(12)
    workers = Kcl(world, "a", checkpoints=False)
    for _ in range(3):
        workers.kcl.step()
    seen = workers.numbers()
    assert seen
    workers.kcl.crash("a")
    workers.kcl.start(workers.worker("a"))
    drain(workers.kcl)
    numbers = [write.sequence for write in world.table.history]
    assert workers.numbers() == [*seen, *numbers]


def test_a_crash_in_the_middle_of_a_batch_checkpoints_nothing_of_it() -> None:
    world = World(12)
    workers = Kcl(world, "a")
    dies = iter([True])
    workers.within = lambda _: workers.kcl.crash_now() if next(dies, False) else None
    workers.kcl.step()
    workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    assert lease.checkpoint is None
    workers.kcl.start(workers.worker("b"))
    drain(workers.kcl)
    assert workers.numbers("b") == [write.sequence for write in world.table.history]


def test_a_graceful_stop_asks_each_shard_and_gives_its_lease_up_at_once() -> None:
    world = World(10)
    workers = Kcl(world, "a", checkpoints=False, max_batch=4)
    workers.kcl.step()
    workers.kcl.step()
    seen = workers.numbers()
    workers.kcl.hand_over("a")
    workers.kcl.start(workers.worker("b"))
    stopped = world.clock()
    while workers.kcl.workers[0].id == "a":
        workers.kcl.step()
    assert workers.events("shutdown", "lost") == [("a", "shutdown"), ("a", "lost")]
    assert world.clock() == stopped
    drain(workers.kcl)
    assert [*seen, *workers.numbers("b")] == [write.sequence for write in world.table.history]


def test_one_lease_is_handed_over_while_its_worker_goes_on() -> None:
    world = World(20, shards=2, items=8)
    workers = Kcl(world, "a", checkpoints=False, max_batch=2)
    for _ in range(6):
        workers.kcl.step()
    first, second = workers.kcl.leases.values()
    assert first.holding
    assert second.holding
    workers.kcl.hand_over_lease(first)
    drain(workers.kcl)
    assert workers.events("shutdown", "lost") == [("a", "shutdown"), ("a", "lost")]
    assert sorted(workers.numbers()) == sorted(write.sequence for write in world.table.history)


def test_an_exception_that_escapes_skips_the_batch_and_a_later_checkpoint_passes_over_it() -> None:
    world = World(12)
    workers = Kcl(world, "a", max_batch=3)
    escapes = iter([True])

    def within(_: Processor) -> None:
        if next(escapes, False):
            raise RuntimeError

    workers.within = within
    drain(workers.kcl)
    assert workers.kcl.skipped_batches == 1
    assert [type(error) for error in workers.kcl.escaped] == [RuntimeError]
    assert workers.numbers() == [write.sequence for write in world.table.history]  # each was given once
    assert workers.kcl.finished  # and yet


def test_records_trimmed_unread_are_a_gap_that_is_seen_and_passed_only_then() -> None:
    world = World(4)
    world.clock.sleep(24 * 3600 + 1)
    world.write(2)
    workers = Kcl(world, "a")
    workers.kcl.step()
    with pytest.raises(Gap) as seen:
        workers.kcl.step()
    assert (seen.value.first, seen.value.count) == (0, 4)
    drain(workers.kcl)
    assert workers.numbers() == [write.sequence for write in world.table.history[4:]]
    assert len(workers.kcl.gaps) == 1


def test_a_checkpoint_is_refused_for_what_was_not_delivered() -> None:
    world = World(6)
    read = [Stream.dynamodb(world.table.stream.arn)]
    records = [read_adapter(record.payload, read[0]) for record in world.table.shards[0].records]
    refused: list[str] = []

    class Hasty(Processor):
        def process(self, payloads: Sequence[Payload], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
            try:
                checkpoint(records[5].sequence)
            except ValueError as error:
                refused.append(str(error))

    worker = SimulatedWorker("a", lambda _arn, shard, holds: Hasty("a", shard, holds, [], lambda _: None))
    kcl = SimulatedKcl(world.table, [worker], world.clock, seeded(), max_batch=5)
    kcl.step()
    kcl.step()
    assert "was not delivered" in refused[0]


def test_the_same_seed_runs_the_same_way() -> None:
    def run() -> list[tuple[str, str, Any]]:
        world = World(30, shards=3, items=9)
        workers = Kcl(world, "a", "b", "c", steal=0.2, lag_seconds=1.0)
        drain(workers.kcl)
        return workers.log

    assert run() == run()
