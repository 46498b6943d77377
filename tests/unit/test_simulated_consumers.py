"""The simulated consumers behave as Lambda's event source mapping and as the KCL do."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
import pytest

from cdc.change import Change
from cdc.deadline import Deadline
from cdc.outcome import Applied, Deferred, Outcome, Rejected
from cdc.pipeline import Pipeline
from cdc.sequence import Stream
from cdc.sources import read_adapter, read_lambda
from cdc.testing import (
    Faults,
    Gap,
    Killed,
    MemorySink,
    ScriptedSink,
    SimulatedClock,
    SimulatedContext,
    SimulatedEventSourceMapping,
    SimulatedKcl,
    SimulatedKinesis,
    SimulatedStop,
    SimulatedTable,
    SimulatedWorker,
)
from cdc.testing.invocation import lowest_failed
from consumers.kcl.shard import Checkpoint, LeaseLost, Running, ShardConsumer, ShardSettings
from tests.events import payload

Answer = Callable[[Sequence[str]], Any]


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311  (not a secret)


class World:
    """A table with some changes, and what was seen of them."""

    def __init__(self, changes: int = 10, *, items: int = 3, shards: int = 1) -> None:
        self.clock = SimulatedClock()
        self.table = SimulatedTable("shop", self.clock, seeded(), shards=shards)
        self.items = items
        self.written = 0
        self.write(changes)

    def write(self, changes: int) -> None:
        for _ in range(changes):
            self.written += 1
            self.table.put((f"item {self.written % self.items}", 1), {"total": self.written})

    @property
    def identities(self) -> list[str]:
        return [write.identity for write in self.table.history]


# --- Lambda's event source mapping


@dataclass
class Function:
    """A handler that answers as told; `batches` is what it was given, by sequence numbers."""

    answer: Answer = lambda _: None
    batches: list[list[str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def __call__(self, event: dict[str, Any], context: SimulatedContext) -> Any:
        read = [record for record in read_lambda(event) if isinstance(record, Change)]
        self.changes += read
        self.batches.append([change.sequence.text for change in read])
        return self.answer(self.batches[-1])


class WholeBatches(random.Random):
    """Every batch as large as it may be."""

    def randint(self, a: int, b: int) -> int:
        return max(a, b)


def mapping(
    world: World, function: Function, chance: random.Random | None = None, **facts: Any
) -> SimulatedEventSourceMapping:
    return SimulatedEventSourceMapping(function, world.table, world.clock, chance or seeded(), **facts)


def drain(consumer: SimulatedEventSourceMapping | SimulatedKcl, limit: int = 2000) -> None:
    for _ in range(limit):
        if not consumer.step():
            return
    raise AssertionError("it never ends")


def failing(*numbers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}


def flat(batches: Sequence[Sequence[str]]) -> list[str]:
    return [number for batch in batches for number in batch]


def test_a_shard_is_delivered_once_and_in_order_in_batches_of_up_to_the_size() -> None:
    world, function = World(50), Function()
    lambda_ = mapping(world, function, batch_size=7)
    drain(lambda_)
    assert [str(change.identity) for change in function.changes] == world.identities
    assert {len(batch) for batch in function.batches} <= set(range(1, 8))
    assert lambda_.drained
    assert not lambda_.step()


def test_what_is_written_later_is_delivered_later() -> None:
    world, function = World(3), Function()
    lambda_ = mapping(world, function)
    drain(lambda_)
    world.write(2)
    assert not lambda_.drained
    drain(lambda_)
    assert [str(change.identity) for change in function.changes] == world.identities


def test_a_parent_is_delivered_before_its_children() -> None:
    world, function = World(20), Function()
    world.table.stream.split(world.table.shards[0])
    world.write(20)
    drain(mapping(world, function, batch_size=3))
    by_item = defaultdict(list)
    for change in function.changes:
        by_item[change.identity.digest].append(change.sequence)
    assert all(numbers == sorted(numbers) for numbers in by_item.values())
    assert [str(change.identity) for change in function.changes[:20]] == world.identities[:20]
    assert len(function.changes) == 40


def test_streams_of_a_table_are_delivered_side_by_side() -> None:
    world, function = World(5), Function()
    world.table.disable_stream()
    world.table.enable_stream()
    world.write(5)
    drain(mapping(world, function))
    assert {str(change.identity) for change in function.changes} == set(world.identities)


def test_everything_from_the_lowest_failed_number_is_delivered_again() -> None:
    world = World(10)
    numbers = [write.sequence for write in world.table.history]
    answers = iter([failing(numbers[6], numbers[4])])
    function = Function(lambda batch: next(answers, None) if len(batch) == 10 else None)
    lambda_ = mapping(world, function, batch_size=10, chance=WholeBatches())
    drain(lambda_)
    assert function.batches == [numbers, numbers[4:]]


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, ""],
    ids=["null", "{}", "[]", "-", "''"],
)
def test_an_empty_answer_is_success(answer: Any) -> None:
    assert lowest_failed(answer, ["1", "2"]) is None


@pytest.mark.parametrize(
    "answer",
    [failing("3"), failing(""), failing("2", "3"), {"failures": []}, {"batchItemFailures": ["1"]}, "done", [1]],
    ids=["unknown", "empty", "one of two unknown", "wrong name", "no objects", "text", "list"],
)
def test_a_wrong_answer_fails_the_whole_batch(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"not in list|batchItemFailures"):
        lowest_failed(answer, ["1", "2"])
    world = World(4)
    answers = iter([answer])
    function = Function(lambda _: next(answers, None))
    drain(mapping(world, function, batch_size=4))
    assert function.batches[0] == function.batches[1]


@pytest.mark.parametrize("death", [RuntimeError, Killed, SystemExit])
def test_an_invocation_that_dies_is_repeated_whole(death: type[BaseException]) -> None:
    world, deaths = World(10), iter([death])

    def answer(_: Sequence[str]) -> None:
        if cause := next(deaths, None):
            raise cause

    function = Function(answer)
    drain(mapping(world, function, batch_size=10))
    assert function.batches[0] == function.batches[1]
    assert sorted(set(flat(function.batches)), key=int) == [write.sequence for write in world.table.history]


def test_an_invocation_that_takes_too_long_is_repeated() -> None:
    world = World(3)
    delays = iter([61.0])

    def answer(_: Sequence[str]) -> None:
        world.clock.sleep(next(delays, 0.0))

    function = Function(answer)
    lambda_ = mapping(world, function, timeout_seconds=60.0)
    drain(lambda_)
    assert function.batches[0] == function.batches[1]
    assert lambda_.counts["failed"] == 1


def test_the_context_tells_the_time_that_is_left() -> None:
    clock = SimulatedClock()
    context = SimulatedContext(clock, clock() + 60)
    clock.sleep(59.5)
    assert context.get_remaining_time_in_millis() == 500
    clock.sleep(1)
    assert context.get_remaining_time_in_millis() == 0


def test_a_lost_answer_delivers_the_batch_again_cut_otherwise() -> None:
    world, function = World(200), Function()
    drain(mapping(world, function, faults=Faults(3, rate=0.4), batch_size=20))
    numbers = [write.sequence for write in world.table.history]
    assert sorted(set(flat(function.batches)), key=int) == numbers
    assert len(flat(function.batches)) > len(numbers)
    lengths = defaultdict(set)
    for batch in function.batches:
        lengths[batch[0]].add(len(batch))
    assert any(len(cuts) > 1 for cuts in lengths.values())


def test_bisect_isolates_the_bad_record_and_costs_no_attempt() -> None:
    world = World(16)
    numbers = [write.sequence for write in world.table.history]
    bad = numbers[5]

    def answer(batch: Sequence[str]) -> None:
        if bad in batch:
            raise RuntimeError

    function = Function(answer)
    lambda_ = mapping(world, function, batch_size=16, bisect=True, max_retries=2, chance=WholeBatches())
    drain(lambda_)
    assert [len(batch) for batch in function.batches] == [16, 8, 4, 4, 2, 1, 1, 1, 1, 2, 8]
    (record,) = lambda_.on_failure
    assert record["DDBStreamBatchInfo"]["startSequenceNumber"] == bad
    assert record["DDBStreamBatchInfo"]["batchSize"] == 1


def test_when_retries_are_used_up_the_batch_goes_to_on_failure_with_its_payload_and_the_shard_goes_on() -> None:
    world = World(6)
    numbers = [write.sequence for write in world.table.history]
    function = Function(lambda batch: failing(numbers[2]) if numbers[2] in batch else None)
    kept: list[dict[str, Any]] = []
    drain(mapping(world, function, batch_size=1, max_retries=3, on_failure=kept))
    assert flat(function.batches) == [*numbers[:2], *[numbers[2]] * 4, *numbers[3:]]
    (record,) = kept
    real = payload("onfailure-s3-object")
    assert record.keys() == real.keys()
    assert record["DDBStreamBatchInfo"].keys() == real["DDBStreamBatchInfo"].keys()
    assert record["requestContext"]["condition"] == real["requestContext"]["condition"]
    assert record["requestContext"]["approximateInvokeCount"] == 4
    (lost,) = read_lambda(orjson.loads(record["payload"]))
    assert isinstance(lost, Change)
    assert str(lost.identity) == world.identities[2]


def test_records_over_the_age_limit_are_not_sent_but_kept_by_on_failure() -> None:
    world, function = World(4), Function()
    lambda_ = mapping(world, function, max_record_age_seconds=3600, batch_size=3)
    world.clock.sleep(3601)
    world.write(2)
    drain(lambda_)
    assert [str(change.identity) for change in function.changes] == world.identities[4:]
    kept = [record for kept in lambda_.on_failure for record in read_lambda(orjson.loads(kept["payload"]))]
    assert [str(record.identity) for record in kept] == world.identities[:4]
    assert [kept["DDBStreamBatchInfo"]["batchSize"] for kept in lambda_.on_failure] == [3, 1]


def test_without_an_age_limit_trimmed_records_are_lost() -> None:
    world, function = World(4), Function()
    lambda_ = mapping(world, function)
    world.clock.sleep(24 * 3600 + 1)
    drain(lambda_)
    assert function.batches == []
    assert [record.sequence for record in lambda_.lost] == [write.sequence for write in world.table.history]


def test_a_failing_lane_waits_longer_each_time_and_the_clock_goes_on() -> None:
    world = World(1)
    moments: list[float] = []

    def answer(_: Sequence[str]) -> Any:
        moments.append(world.clock())
        return failing("") if len(moments) < 4 else None

    drain(mapping(world, Function(answer)))
    waits = [round(after - before) for before, after in pairwise(moments)]
    assert waits == [1, 2, 4]


@pytest.mark.parametrize("seed", range(5))
def test_parallel_batches_of_a_shard_keep_the_order_of_each_item(seed: int) -> None:
    world, function = World(100, items=7), Function()
    lambda_ = SimulatedEventSourceMapping(
        function,
        world.table,
        world.clock,
        seeded(seed),
        faults=Faults(seed, rate=0.3),
        batch_size=5,
        parallelization_factor=4,
    )
    drain(lambda_)
    first_seen: dict[str, list[int]] = defaultdict(list)
    for change in function.changes:
        if change.sequence.value not in first_seen[change.identity.digest]:
            first_seen[change.identity.digest].append(change.sequence.value)
    assert sum(map(len, first_seen.values())) == 100
    assert all(numbers == sorted(numbers) for numbers in first_seen.values())
    assert [change.sequence for change in function.changes] != sorted(change.sequence for change in function.changes)


def test_a_failing_lane_does_not_hold_the_others() -> None:
    world = World(40, items=13)
    held = world.table.history[0].digest
    function = Function()
    hold = [True]

    def handler(event: dict[str, Any], context: SimulatedContext) -> Any:
        function(event, context)
        bad = [c for c in read_lambda(event) if isinstance(c, Change) and c.identity.digest == held]
        return failing(bad[0].sequence.text) if bad and hold[0] else None

    lambda_ = SimulatedEventSourceMapping(handler, world.table, world.clock, seeded(), parallelization_factor=4)
    for _ in range(60):
        assert lambda_.step()
    seen = {str(change.identity) for change in function.changes}
    assert len(seen) > 20
    hold.clear()
    hold.append(False)
    drain(lambda_)
    assert {str(change.identity) for change in function.changes} == set(world.identities)


def test_an_abandoned_invocation_goes_on_while_its_batch_is_delivered_again() -> None:
    world = World(6)
    order: list[str] = []

    def answer(batch: Sequence[str]) -> None:
        if not order:
            order.append("first begins")
            lambda_.abandon_now()
            while lambda_.step():
                pass
            order.append("first ends")
        else:
            order.append("again")

    function = Function(answer)
    lambda_ = mapping(world, function, batch_size=6)
    drain(lambda_)
    assert order[0] == "first begins"
    assert set(order[1:-1]) == {"again"}
    assert order[-1] == "first ends"
    assert flat(function.batches[1:]) == [write.sequence for write in world.table.history]


def test_a_lane_has_no_second_turn_in_the_middle_of_its_invocation() -> None:
    world, nested = World(6), []
    function = Function(lambda _: nested.append(lambda_.step()))
    lambda_ = mapping(world, function, batch_size=2)
    drain(lambda_)
    assert set(nested) == {False}
    assert flat(function.batches) == [write.sequence for write in world.table.history]


def test_kinesis_records_are_delivered_as_lambda_does() -> None:
    world = World(0)
    kinesis = SimulatedKinesis(world.clock, seeded())
    world.table.listen(kinesis.deliver)
    world.write(30)
    kinesis.settle()
    function = Function()
    lambda_ = SimulatedEventSourceMapping(function, kinesis, world.clock, seeded(), batch_size=4)
    drain(lambda_)
    assert {str(change.identity) for change in function.changes} == {
        write.kinesis_identity for write in world.table.history
    }


# --- The KCL


@dataclass
class Processor:
    """Told what the KCL tells; checkpoints each batch unless told otherwise."""

    name: str
    shard: str
    holds_lease: Callable[[], bool]
    log: list[tuple[str, str, Any]]
    within: Callable[[Processor], None]
    checkpoints: bool = True

    def process(self, payloads: Sequence[bytes], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        numbers = [orjson.loads(given)["dynamodb"]["SequenceNumber"] for given in payloads]
        self.log.append((self.name, "process", numbers))
        self.within(self)
        if self.checkpoints:
            self._try(checkpoint, None)

    def _try(self, checkpoint: Checkpoint, sequence: None) -> None:
        try:
            checkpoint(sequence)
        except LeaseLost:
            self.log.append((self.name, "refused", self.shard))

    def lease_lost(self) -> None:
        self.log.append((self.name, "lost", self.shard))

    def shard_ended(self, checkpoint: Checkpoint) -> None:
        self.log.append((self.name, "ended", self.shard))
        checkpoint(None)

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        self.log.append((self.name, "shutdown", self.shard))
        self._try(checkpoint, None)


class Kcl:
    """A simulated KCL of processors that write a log."""

    def __init__(self, world: World, *names: str, checkpoints: bool = True, **facts: Any) -> None:
        self.log: list[tuple[str, str, Any]] = []
        self.within: Callable[[Processor], None] = lambda _: None
        self.checkpoints = checkpoints
        self.kcl = SimulatedKcl(
            world.table, [self.worker(name) for name in names], world.clock, seeded(), **{"max_batch": 5, **facts}
        )

    def worker(self, name: str) -> SimulatedWorker:
        return SimulatedWorker(
            name,
            lambda _arn, shard, holds: Processor(name, shard, holds, self.log, self._within, self.checkpoints),
        )

    def _within(self, processor: Processor) -> None:
        self.within(processor)

    def numbers(self, name: str | None = None) -> list[str]:
        return flat([batch for who, what, batch in self.log if what == "process" and name in {None, who}])

    def events(self, *kinds: str) -> list[tuple[str, str]]:
        return [(who, what) for who, what, _ in self.log if what in kinds]


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


def test_an_empty_child_does_not_let_its_own_children_go_first() -> None:
    table, clock = SimulatedTable("shop", SimulatedClock(), random.Random(1)), SimulatedClock()  # noqa: S311  (no secret)
    table.put(("a", "1"), {"n": 1})
    child = table.stream.roll(table.stream.shards[0])
    table.stream.roll(child)
    table.put(("a", "1"), {"n": 2})
    sent: list[str] = []

    def fails_once(event: dict[str, Any], _context: object) -> dict[str, Any]:
        sent.extend(record["dynamodb"]["NewImage"]["n"]["N"] for record in event["Records"])
        if len(sent) == 1:
            raise ValueError
        return {"batchItemFailures": []}

    mapping = SimulatedEventSourceMapping(fails_once, table, clock, random.Random(1))  # noqa: S311  (no secret)
    while mapping.step():
        assert len(sent) < 10
    assert sent == ["1", "1", "2"]


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


def test_a_stolen_lease_is_reported_late_and_its_checkpoint_is_refused() -> None:
    world = World(12)
    workers = Kcl(world, "a", "b", max_batch=2)
    workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    first = lease.owner
    other = next(worker for worker in workers.kcl.workers if worker.id != first)
    steals = iter([True])

    def within(processor: Processor) -> None:
        if next(steals, False):
            workers.kcl.steal(lease, other)
            assert not processor.holds_lease()

    workers.within = within
    workers.kcl.step()
    assert workers.events("lost", "refused") == [(first, "refused")]
    drain(workers.kcl)
    assert (first, "lost") in workers.events("lost")
    assert workers.numbers(other.id) == [write.sequence for write in world.table.history]


def test_a_loss_may_be_known_only_after_a_lag() -> None:
    world = World(4)
    workers = Kcl(world, "a", "b", lag_seconds=3.0)
    workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    assert lease.holding is not None
    holds = lease.holding.holds_lease
    other = next(worker for worker in workers.kcl.workers if worker.id != lease.owner)
    workers.kcl.steal(lease, other)
    assert holds()
    world.clock.sleep(3.0)
    assert not holds()


def test_a_zombie_goes_on_in_the_middle_of_its_batch_after_another_has_taken_the_lease() -> None:
    world = World(6)
    workers = Kcl(world, "a", "b", max_batch=6)
    freezes = iter([True])
    woke: list[tuple[str, list[str]]] = []

    def within(processor: Processor) -> None:
        if next(freezes, False):
            workers.kcl.freeze_now(40.0)
            woke.append((processor.name, workers.numbers()))
            assert not processor.holds_lease()

    workers.within = within
    drain(workers.kcl)
    ((zombie, seen),) = woke
    other = "b" if zombie == "a" else "a"
    assert workers.numbers(other) == [write.sequence for write in world.table.history]
    assert len(seen) > len(workers.numbers(zombie)[:6])  # the other had its turns meanwhile
    assert (zombie, "refused") in workers.events("refused")
    assert (zombie, "lost") in workers.events("lost")


def test_a_short_freeze_costs_nothing() -> None:
    world = World(6)
    workers = Kcl(world, "a", "b")
    freezes = iter([True])
    workers.within = lambda _: workers.kcl.freeze_now(5.0) if next(freezes, False) else None
    drain(workers.kcl)
    assert workers.numbers() == [write.sequence for write in world.table.history]
    assert workers.events("lost", "refused") == []


def test_a_worker_frozen_for_longer_than_the_fail_over_has_lost_its_leases_though_nobody_took_them() -> None:
    world = World(6)
    workers = Kcl(world, "a")
    workers.kcl.step()
    workers.kcl.freeze("a", 60.0)
    drain(workers.kcl)
    assert ("a", "lost") in workers.events("lost")
    (lease,) = workers.kcl.leases.values()
    assert lease.checkpoint == int(world.table.history[-1].sequence)


def test_a_process_killed_while_it_stands_still_never_wakes() -> None:
    world = World(6)
    workers = Kcl(world, "a", max_batch=6)
    freezes = iter([True])
    woke: list[str] = []

    def within(processor: Processor) -> None:
        if next(freezes, False):
            workers.kcl.freeze_now(40.0)
            woke.append(processor.name)

    workers.within = within
    kills = iter([True])
    workers.kcl.meanwhile = lambda: workers.kcl.crash("a") if next(kills, False) else None
    drain(workers.kcl)
    assert woke == []
    assert workers.kcl.workers == []


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
        def process(self, payloads: Sequence[bytes], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
            try:
                checkpoint(records[5].sequence)
            except ValueError as error:
                refused.append(str(error))

    worker = SimulatedWorker("a", lambda _arn, shard, holds: Hasty("a", shard, holds, [], lambda _: None))
    kcl = SimulatedKcl(world.table, [worker], world.clock, seeded(), max_batch=5)
    kcl.step()
    kcl.step()
    assert "was not delivered" in refused[0]


# --- The KCL's consumer over a real pipeline


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
                read=lambda given: read_adapter(given, stream),
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
        return Deferred("not yet") if world.clock() < until else Applied()

    sink = ScriptedSink(script)
    fleet = Fleet(world, sink)
    fleet.start("a")
    drain(fleet.kcl)
    assert world.clock() >= until
    assert fleet.kcl.finished
    assert list(dict.fromkeys(str(change.identity) for change in sink.written)) == world.identities


def test_a_rejected_change_without_a_store_is_never_acknowledged() -> None:
    world = World(3)
    fleet = Fleet(world, ScriptedSink(lambda _: Rejected("never")))
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


def test_the_same_seed_runs_the_same_way() -> None:
    def run() -> list[tuple[str, str, Any]]:
        world = World(30, shards=3, items=9)
        workers = Kcl(world, "a", "b", "c", steal=0.2, lag_seconds=1.0)
        drain(workers.kcl)
        return workers.log

    assert run() == run()
