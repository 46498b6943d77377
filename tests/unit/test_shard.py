"""A shard: nothing is checkpointed before it is settled and flushed, and nothing escapes into the KCL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.causes import Cause
from cdc.deadline import Deadline
from cdc.delivery.shard import BatchFacts, LeaseLost, Payload, Running, ShardConsumer, ShardSettings
from cdc.errors import SinkUnavailable
from cdc.outcome import Applied, Deferred, Outcome, leading_settled
from cdc.records.decoding import Record, read_adapter
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import STREAM_ARN, stream_record

STREAM = Stream.dynamodb(STREAM_ARN)


@dataclass
class Recorder:
    """A pipeline that answers as told, and a lease table; `events` is what happened, in order."""

    answers: Callable[[Record], Outcome] = lambda _: Applied()
    held: bool = True
    failing_flushes: int = 0
    events: list[str] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    open: list[int] = field(default_factory=list)
    durable: list[int] = field(default_factory=list)
    on_failing_flush: Callable[[], object] = lambda: None
    checkpointed: list[int | None] = field(default_factory=list)
    facts: list[BatchFacts] = field(default_factory=list)
    now: float = 0.0

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        outcomes = [self.answers(record) for record in records]
        self.events.append(f"write {len(records)}")
        self.written += [_number(record) for record in records]
        self.open += [_number(record) for record in records[: leading_settled(outcomes)]]
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        if self.failing_flushes:
            self.failing_flushes -= 1
            self.on_failing_flush()
            raise SinkUnavailable("archive", "not now")
        self.events.append("flush")
        self.durable += self.open
        self.open.clear()

    def close(self) -> None:
        self.events.append("close")
        self.open.clear()

    def checkpoint(self, sequence: SequenceNumber | None) -> None:
        if not self.held:
            raise LeaseLost
        self.events.append(f"checkpoint {sequence or 'end'}")
        self.checkpointed.append(sequence.value if sequence else None)


def _number(record: Record) -> int:
    return record.sequence.value if record.sequence else 0


def consumer(recorder: Recorder, running: Running | None = None, **settings: float) -> ShardConsumer:
    return ShardConsumer(
        shard="shard-1",
        table="shop",
        pipeline=recorder,
        read=lambda payloads: [read_adapter(payload.data, STREAM) for payload in payloads],
        settings=ShardSettings(pause_seconds=0.0, pause_max_seconds=0.0, **settings),  # type: ignore[arg-type]
        running=running or Running(),
        holds_lease=lambda: recorder.held,
        observe=recorder.facts.append,
        clock=lambda: recorder.now,
    )


def payloads(*numbers: int) -> list[Payload]:
    return [
        Payload(orjson.dumps(stream_record({"pk": "a"}, None, {}, sequence=number, created=1.0))) for number in numbers
    ]


def test_a_batch_is_flushed_before_it_is_checkpointed() -> None:
    recorder = Recorder()
    consumer(recorder, flush_seconds=0).process(payloads(1, 2, 3), recorder.checkpoint)
    assert recorder.events == ["write 3", "flush", "checkpoint 3"]


def test_flushes_wait_until_they_are_due() -> None:
    recorder = Recorder()
    shard = consumer(recorder, flush_seconds=60)
    shard.process(payloads(1), recorder.checkpoint)
    recorder.now = 59
    shard.process([], recorder.checkpoint)
    assert recorder.checkpointed == []
    recorder.now = 60
    shard.process([], recorder.checkpoint)
    assert recorder.checkpointed == [1]
    shard.process(payloads(2), recorder.checkpoint)
    assert recorder.checkpointed == [1]


def test_many_bytes_are_flushed_at_once() -> None:
    recorder = Recorder()
    consumer(recorder, flush_bytes=10).process(payloads(1), recorder.checkpoint)
    assert recorder.checkpointed == [1]


def test_a_deferred_record_holds_the_shard_and_the_settled_prefix_is_checkpointed() -> None:
    tries: Iterator[Outcome] = iter([Deferred(Cause("busy")), Deferred(Cause("busy")), Applied()])
    recorder = Recorder(answers=lambda record: next(tries) if _number(record) == 2 else Applied())
    consumer(recorder, flush_seconds=0).process(payloads(1, 2, 3), recorder.checkpoint)
    assert recorder.events == ["write 3", "flush", "checkpoint 1", "write 2", "write 2", "flush", "checkpoint 3"]


def test_a_held_shard_lets_go_when_a_stop_is_asked() -> None:
    recorder, running = Recorder(answers=lambda record: Deferred(Cause("busy"))), Running()
    running.stop.set()
    shard = consumer(recorder, running)
    shard.process(payloads(1, 2), recorder.checkpoint)
    shard.process(payloads(3), recorder.checkpoint)
    shard.shutdown_requested(recorder.checkpoint)
    shard.shard_ended(recorder.checkpoint)
    assert recorder.written == [1, 2]
    assert recorder.checkpointed == []


def test_a_held_shard_lets_go_when_the_lease_is_lost() -> None:
    recorder = Recorder()

    def losing(_record: Record) -> Outcome:
        recorder.held = False
        return Deferred(Cause("busy"))

    recorder.answers = losing
    shard = consumer(recorder)
    shard.process(payloads(1), recorder.checkpoint)
    shard.process(payloads(2), recorder.checkpoint)
    assert recorder.written == [1]
    assert recorder.checkpointed == []


def test_a_lease_that_is_lost_in_the_middle_of_a_batch_is_said_and_drops_what_is_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    recorder = Recorder()

    def losing(record: Record) -> Outcome:
        recorder.held = _number(record) < 2
        return Applied() if recorder.held else Deferred(Cause("the lease is gone"))

    recorder.answers = losing
    shard = consumer(recorder)
    shard.process(payloads(1, 2), recorder.checkpoint)
    shard.lease_lost()
    assert recorder.events[-1] == "close"
    assert (recorder.open, recorder.checkpointed) == ([], [])
    assert [record.getMessage() for record in caplog.records].count("shop: the lease of shard-1 is lost") == 1


def test_a_stop_flushes_and_checkpoints_what_is_settled() -> None:
    recorder, running = Recorder(), Running()
    shard = consumer(recorder, running)
    shard.process(payloads(1, 2), recorder.checkpoint)
    running.stop.set()
    shard.shutdown_requested(recorder.checkpoint)
    assert recorder.events == ["write 2", "flush", "checkpoint 2"]
    shard.process(payloads(3), recorder.checkpoint)
    assert recorder.written == [1, 2]


def test_a_lost_lease_drops_what_is_open_without_writing_it() -> None:
    recorder = Recorder()
    shard = consumer(recorder)
    shard.process(payloads(1), recorder.checkpoint)
    shard.lease_lost()
    shard.process(payloads(2), recorder.checkpoint)
    assert recorder.events == ["write 1", "close"]


def test_a_checkpoint_that_finds_the_lease_lost_ends_the_shard() -> None:
    recorder = Recorder(held=False)
    running = Running()
    shard = consumer(recorder, running, flush_seconds=0)
    shard.process(payloads(1), recorder.checkpoint)
    shard.process(payloads(2), recorder.checkpoint)
    assert recorder.events == ["write 1", "flush", "close"]
    assert running.failure is None


def test_the_end_of_a_shard_is_checkpointed_after_a_flush() -> None:
    recorder = Recorder(failing_flushes=2)
    shard = consumer(recorder)
    shard.process(payloads(1), recorder.checkpoint)
    shard.shard_ended(recorder.checkpoint)
    assert recorder.events == ["write 1", "flush", "checkpoint end"]


def test_a_failure_is_noted_and_nothing_is_acknowledged_after_it() -> None:
    def broken(_record: Record) -> Outcome:
        raise ZeroDivisionError

    recorder, running = Recorder(answers=broken), Running()
    shard = consumer(recorder, running, flush_seconds=0)
    shard.process(payloads(1), recorder.checkpoint)
    shard.process(payloads(2), recorder.checkpoint)
    shard.shutdown_requested(recorder.checkpoint)
    shard.shard_ended(recorder.checkpoint)
    assert isinstance(running.failure, ZeroDivisionError)
    assert running.stop.is_set()
    assert recorder.checkpointed == []


def test_a_stop_while_the_archive_is_down_acknowledges_nothing_that_is_not_durable() -> None:
    recorder, running = Recorder(failing_flushes=1), Running()
    recorder.on_failing_flush = running.stop.set
    shard = consumer(recorder, running, flush_seconds=0)
    shard.process(payloads(1, 2), recorder.checkpoint)
    shard.shutdown_requested(recorder.checkpoint)
    assert recorder.durable == [1, 2]
    assert recorder.checkpointed == [2]


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["apply", "defer once", "lose", "stop"])), max_size=8),
    st.integers(0, 3),
    st.sampled_from(["nothing", "stop", "lose"]),
    st.booleans(),
)
def test_never_more_is_checkpointed_than_is_settled_and_durable(
    batches: list[tuple[int, str]], failing: int, at_failing_flush: str, ends: bool
) -> None:
    recorder, running = Recorder(), Running()
    modes: dict[int, str] = {}

    def disturb(what: str) -> None:
        if what == "lose":
            recorder.held = False
        elif what == "stop":
            running.stop.set()

    def answer(record: Record) -> Outcome:
        mode = modes.get(_number(record), "apply")
        if mode == "apply":
            return Applied()
        disturb(mode)
        if mode == "defer once":
            modes[_number(record)] = "apply"
        return Deferred(Cause("busy"))

    recorder.answers = answer
    recorder.failing_flushes = failing
    recorder.on_failing_flush = lambda: disturb(at_failing_flush)
    shard = consumer(recorder, running, flush_seconds=0)
    start = 1
    for size, mode in batches:
        modes[start + size // 2] = mode
        shard.process(payloads(*range(start, start + size)), recorder.checkpoint)
        start += size
    stopped = running.stop.is_set()
    if ends and not stopped:
        shard.shard_ended(recorder.checkpoint)
    else:
        shard.shutdown_requested(recorder.checkpoint)
    for checkpointed in recorder.checkpointed:
        last = start - 1 if checkpointed is None else checkpointed
        assert set(range(1, last + 1)) <= set(recorder.durable)


def test_a_shard_says_since_when_and_on_what_it_is_held() -> None:
    recorder, running = Recorder(), Running()
    seen: list[tuple[float | None, str]] = []

    def answer(_record: Record) -> Outcome:
        status = running.shards["", "shard-1"]
        seen.append((status.held_since, status.held_on))
        recorder.now += 10
        return Applied() if len(seen) > 2 else Deferred(Cause(f"busy {len(seen)}"))

    recorder.answers = answer
    shard = consumer(recorder, running)
    shard.process(payloads(1), recorder.checkpoint)
    assert seen == [(None, ""), (10.0, "busy 1"), (10.0, "busy 2")]
    assert (shard.status.held_since, shard.status.held_on) == (None, "")


def test_a_held_shard_says_so_once_for_each_cause_and_says_when_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    recorder = Recorder()
    running = Running(clock=lambda: recorder.now, now=lambda: 1_800_000_000.0 + recorder.now)
    causes = iter(["out of reach"] * 4 + ["throttled"] * 4)

    def answer(_record: Record) -> Outcome:
        recorder.now += 20
        return Deferred(Cause(cause)) if (cause := next(causes, "")) else Applied()

    recorder.answers = answer
    consumer(recorder, running, flush_seconds=600).process(payloads(1), recorder.checkpoint, 5000)
    assert [record.getMessage() for record in caplog.records] == [
        "shop: shard-1 is held since 2027-01-15T08:00:20Z: out of reach; 25 s behind; nothing is lost for 23 h 59 min",
        "shop: shard-1 is held since 2027-01-15T08:00:20Z: throttled; 1 min 45 s behind; "
        "nothing is lost for 23 h 58 min",
        "shop: shard-1 goes on, after it was held for 2 min 40 s",
    ]


def test_a_batch_that_gets_on_in_part_is_held_until_it_is_settled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    tries: Iterator[Outcome] = iter([Applied(), Deferred(Cause("busy")), Deferred(Cause("busy"))])
    recorder = Recorder(answers=lambda _record: next(tries, Applied()))
    consumer(recorder).process(payloads(1, 2), recorder.checkpoint)
    said = [record.getMessage().partition(" is held")[0].partition(", after")[0] for record in caplog.records]
    assert said == ["shop: shard-1", "shop: shard-1 goes on"]


def test_an_archive_that_is_out_of_reach_is_said_and_so_is_that_it_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    recorder = Recorder(failing_flushes=3)
    consumer(recorder, flush_seconds=0).process(payloads(1), recorder.checkpoint)
    held, goes_on = (record.getMessage() for record in caplog.records)
    assert ": archive: not now; " in held
    assert "goes on" in goes_on


def test_a_shard_says_how_far_it_is() -> None:
    recorder, running = Recorder(now=5.0), Running()
    shard = consumer(recorder, running, flush_seconds=60)
    shard.process(payloads(1, 2), recorder.checkpoint, 1234)
    status = running.shards["", "shard-1"]
    assert (status.millis_behind, status.unflushed_since, status.checkpointed_at) == (1234, 5.0, None)
    assert status.unflushed_bytes > 0
    recorder.now = 70.0
    shard.process([], recorder.checkpoint)
    assert (status.unflushed_bytes, status.unflushed_since, status.checkpointed_at) == (0, None, 70.0)


def test_a_shard_is_shown_only_while_it_is_read() -> None:
    recorder, running = Recorder(), Running()
    shard = consumer(recorder, running)
    assert list(running.shards) == [("", "shard-1")]
    shard.lease_lost()
    assert running.shards == {}


def test_a_batch_is_told_by_table_and_operation() -> None:
    recorder = Recorder()
    consumer(recorder).process(payloads(1, 2), recorder.checkpoint)
    (facts,) = recorder.facts
    assert facts.changes == {("shop", "INSERT"): 2}
    assert facts.outcomes == {"applied": 2}


def test_the_budget_of_a_stop_runs_from_the_signal_on_for_every_shard() -> None:
    budgets: list[float] = []

    class Measured(Recorder):
        def flush(self, deadline: Deadline) -> None:
            budgets.append(deadline.remaining_seconds)

    recorder = Measured()
    running = Running(clock=lambda: recorder.now)
    shards = [consumer(recorder, running, shutdown_seconds=25) for _ in range(3)]
    for shard in shards:
        shard.process(payloads(1), recorder.checkpoint)
    running.ask_stop()
    for shard in shards:
        shard.shutdown_requested(recorder.checkpoint)
        recorder.now += 15
    assert budgets == [22.0, 7.0, 0.0]
