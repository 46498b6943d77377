"""Lambda's event source mapping, simulated: who is invoked with what, and what becomes of the answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults, Killed
from cdc.testing.invocation import SimulatedContext, failure_record, lowest_failed
from cdc.testing.stream import RETENTION_SECONDS, Sharded, ShardRecord, SimulatedShard

__all__ = ["SimulatedEventSourceMapping"]

Handler = Callable[[dict[str, Any], SimulatedContext], Any]

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 60.0  # between invocations that fail; AWS gives no numbers


class _InvocationFailed(Exception):
    """Nothing of the batch is done."""


@dataclass
class _Lane:
    """One of the parallel ways through a shard: its records wait in order, an item's always in the same lane."""

    shard: SimulatedShard
    waiting: list[ShardRecord] = field(default_factory=list)
    done: int = 0
    batches: list[int] = field(default_factory=list)  # sizes of the next batches, where a failure has fixed them
    attempts: int = 0
    not_before: float = 0.0
    invocation: int | None = None  # the one whose answer is waited for

    @property
    def left(self) -> int:
        return len(self.waiting) - self.done

    def advance(self, count: int) -> None:
        """The first `count` records of the batch need no more; of what is left of it, the next batch is made."""
        self.done += count
        rest = self.batches.pop(0) - count
        if rest:
            self.batches.insert(0, rest)


@dataclass
class _Reader:
    """How far a shard is read into its lanes."""

    shard: SimulatedShard
    lanes: list[_Lane]
    read: int = 0

    def poll(self) -> None:
        """Give what is new in the shard to the lanes: every record of an item to the same."""
        records = self.shard.records
        for place in range(self.read, len(records)):
            record = records[place]
            self.lanes[int(record.item[:8], 16) % len(self.lanes)].waiting.append(record)
        self.read = len(records)

    @property
    def finished(self) -> bool:
        return self.shard.closed and self.read == len(self.shard.records) and not any(lane.left for lane in self.lanes)


class SimulatedEventSourceMapping:
    """Invokes a handler with the batches of a stream, or of all streams of a table, as Lambda does.

    Per shard and in order; parents before children; with `parallelization_factor` several batches of a shard side
    by side, the changes of one item in one of them. An invocation that raises, runs out of time (by the clock) or
    answers badly is repeated, halved first if `bisect` (that does not count as an attempt). A failed sequence
    number: everything from it is delivered again. After `max_retries`, or when records are older than
    `max_record_age_seconds` (-1: no limit, for both), a record with the payload goes to `on_failure`, in the shape
    of an S3 destination's object, and the shard goes on. Records that are trimmed before are `lost`.

    `faults` at "lambda": `answer lost` (the invocation ran, its answer is not seen, the batch comes again, cut
    otherwise), `not started` (the invocation fails before the handler runs).

    Not known of AWS, and harsher here than it may be: attempts count on after a part of the batch succeeded.
    """

    def __init__(
        self,
        handler: Handler,
        source: Sharded,
        clock: SimulatedClock,
        chance: random.Random,
        *,
        faults: Faults | None = None,
        batch_size: int = 100,
        parallelization_factor: int = 1,
        max_retries: int = -1,
        max_record_age_seconds: float = -1,
        bisect: bool = False,
        on_failure: list[dict[str, Any]] | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self.on_failure = [] if on_failure is None else on_failure
        self.lost: list[ShardRecord] = []
        self.counts: Counter[str] = Counter()
        """Of invocations: `invoked`, `succeeded`, `partial`, `failed`, `bisected`, `exhausted`, `abandoned`.
        Of records: `too old`."""
        self._handler = handler
        self._source = source
        self._clock = clock
        self._chance = chance
        self._faults = faults
        self._batch_size = batch_size
        self._factor = parallelization_factor
        self._max_retries = max_retries
        self._max_age = max_record_age_seconds
        self._bisect = bisect
        self._timeout = timeout_seconds
        self._readers: dict[tuple[str, str], _Reader] = {}
        self._running: list[_Lane] = []  # of invocations under way, innermost last

    @property
    def drained(self) -> bool:
        """Is everything delivered, or handed to `on_failure`, that the shards hold now?"""
        return not any(lane.left for reader in self._poll() for lane in reader.lanes) and all(
            reader.read == len(reader.shard.records) for reader in self._readers.values()
        )

    def step(self) -> bool:
        """One invocation, of a lane that `chance` picks. Where all of them wait after failures, the clock goes on.

        A handler may call what calls this again: its own lane then has no turn. False: nothing was left to do.
        """
        lanes = [lane for reader in self._poll() for lane in reader.lanes if lane.left and lane.invocation is None]
        dropped = [lane for lane in lanes if self._drop_old(lane)]
        lanes = [lane for lane in lanes if lane.left]
        if not lanes:
            return bool(dropped) and not self.drained
        first = min(lane.not_before for lane in lanes)
        self._clock.sleep(first - self._clock())
        ready = max(first, self._clock())
        lane = self._chance.choice([lane for lane in lanes if lane.not_before <= ready])
        self._invoke(lane)
        return True

    def abandon_now(self) -> None:
        """Called by what a handler calls: nobody waits for this invocation any more, though it goes on. Its batch is
        delivered again, cut otherwise, before or after it ends."""
        if self._running and self._running[-1].invocation is not None:
            self.counts["abandoned"] += 1
            self._running[-1].invocation = None
            self._running[-1].batches.clear()

    def _poll(self) -> list[_Reader]:
        """The shards whose parents are done, with what is new in them."""
        readers = []
        done: set[tuple[str, str]] = set()  # not an empty child either, before its parents are
        for shard in self._source.shards:
            key = shard.stream_arn, shard.id
            if (reader := self._readers.get(key)) is None:
                reader = self._readers[key] = _Reader(shard, [_Lane(shard) for _ in range(self._factor)])
            if all((parent.stream_arn, parent.id) in done for parent in shard.parents):
                reader.poll()
                readers.append(reader)
                if reader.finished:
                    done.add(key)
        return readers

    def _drop_old(self, lane: _Lane) -> bool:
        """Records over the age limit are not sent: they go to `on_failure`, or are lost where the stream is shorter."""
        now = self._clock()
        limit = self._max_age if 0 <= self._max_age < RETENTION_SECONDS else RETENTION_SECONDS
        old = 0
        while old < lane.left and now - lane.waiting[lane.done + old].written > limit:
            old += 1
        if not old:
            return False
        records = lane.waiting[lane.done : lane.done + old]
        if limit < RETENTION_SECONDS:
            for start in range(0, old, self._batch_size):
                self._give_up(lane, records[start : start + self._batch_size], "RecordAgeExceeded")
            self.counts["too old"] += old
        else:
            self.lost += records
        lane.done += old
        lane.batches.clear()
        lane.attempts, lane.not_before = 0, 0.0
        return True

    def _invoke(self, lane: _Lane) -> None:
        if not lane.batches:
            lane.batches.append(min(lane.left, self._chance.randint(1, self._batch_size)))
        batch = lane.waiting[lane.done : lane.done + lane.batches[0]]
        self.counts["invoked"] += 1
        lane.invocation = invocation = self.counts["invoked"]
        self._running.append(lane)
        resume, failed = None, False
        try:
            resume = self._answer(lane, batch)
        except _InvocationFailed:
            failed = True
        finally:
            self._running.pop()
        if lane.invocation != invocation:
            return  # it was abandoned
        lane.invocation = None
        if failed:
            self.counts["failed"] += 1
            self._failed(lane, batch, attempted=not self._halved(lane, batch))
            return
        lane.advance(len(batch) if resume is None else resume)
        if resume is None:
            self.counts["succeeded"] += 1
            lane.attempts, lane.not_before = 0, 0.0
        else:
            self.counts["partial"] += 1
            self._failed(lane, batch[resume:], attempted=True)

    def _halved(self, lane: _Lane, batch: list[ShardRecord]) -> bool:
        if not self._bisect or not lane.batches or len(batch) == 1:
            return False
        half = len(batch) // 2
        lane.batches[:1] = [half, len(batch) - half]
        self.counts["bisected"] += 1
        return True

    def _answer(self, lane: _Lane, batch: list[ShardRecord]) -> int | None:
        fault = self._faults.draw("lambda", {"answer lost": 1, "not started": 1}) if self._faults else None
        if fault == "not started":
            raise _InvocationFailed
        context = SimulatedContext(self._clock, self._clock() + self._timeout)
        try:
            answer = self._handler({"Records": [record.record for record in batch]}, context)
        except (Exception, Killed, SystemExit) as error:  # whatever ends an invocation, Lambda goes on
            raise _InvocationFailed from error
        if fault == "answer lost" and lane.invocation is not None:
            lane.batches.clear()  # whoever takes over reads from the checkpoint, and cuts as it likes
        if fault == "answer lost" or self._clock() > context.ends_at:
            raise _InvocationFailed
        try:
            return lowest_failed(answer, [record.sequence for record in batch])
        except ValueError as error:
            raise _InvocationFailed from error

    def _failed(self, lane: _Lane, batch: list[ShardRecord], *, attempted: bool) -> None:
        if attempted:
            lane.attempts += 1
        if 0 <= self._max_retries < lane.attempts:
            self._give_up(lane, batch, "RetryAttemptsExhausted")
            self.counts["exhausted"] += 1
            if lane.batches:
                lane.advance(len(batch))
            else:
                lane.done += len(batch)
            lane.attempts, lane.not_before = 0, 0.0
            return
        wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(max(lane.attempts - 1, 0), 10))
        lane.not_before = self._clock() + wait

    def _give_up(self, lane: _Lane, batch: list[ShardRecord], condition: str) -> None:
        self.on_failure.append(
            failure_record(
                lane.shard,
                batch,
                condition=condition,
                attempts=lane.attempts,
                request_id=f"{len(self.on_failure):08d}-0000-0000-0000-000000000000",
                now=self._clock(),
            )
        )
