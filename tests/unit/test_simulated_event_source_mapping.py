"""The simulated event source mapping behaves as Lambda's does."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
import pytest

from cdc.records.change import Change
from cdc.records.decoding import read_lambda
from cdc.testing import (
    Faults,
    Killed,
    SimulatedClock,
    SimulatedContext,
    SimulatedEventSourceMapping,
    SimulatedKinesis,
    SimulatedTable,
)
from cdc.testing.simulated.invocation import lowest_failed
from tests.events import payload
from tests.unit.simulated import World, drain, flat, seeded

Answer = Callable[[Sequence[str]], Any]


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


def failing(*numbers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers]}


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
