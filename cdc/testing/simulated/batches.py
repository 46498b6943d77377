"""Batches of a stream's shards: which records are due, and what becomes of a batch by its answer.

The rules of Lambda's event source mapping, with no clock and no function of their own: the simulated one and the local
one stand around them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cdc.testing.simulated.invocation import FailedShard, failure_record
from cdc.testing.simulated.stream import RETENTION_SECONDS, ShardRecord

__all__ = ["BatchRules", "Batches", "Lane", "OnFailure", "Shard", "Source"]

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 60.0  # between invocations that fail; AWS gives no numbers


class Shard(FailedShard, Protocol):
    """A shard as it is read: its records grow at the end."""

    @property
    def parents(self) -> Sequence[Shard]:
        """Those that have to be delivered before it."""
        ...

    @property
    def records(self) -> Sequence[ShardRecord]:
        """All that were read by now, in order."""
        ...

    @property
    def closed(self) -> bool:
        """Will there be no more records?"""
        ...


class Source(Protocol):
    """A stream, or all streams of a table."""

    @property
    def shards(self) -> Sequence[Shard]:
        """All there ever were, each after its parents."""
        ...


class OnFailure(Protocol):
    """Takes the records of batches that are given up."""

    def append(self, record: dict[str, Any], /) -> None:
        """Keep one; the shard goes on when this returns."""
        ...

    def __len__(self) -> int:
        """How many it was given."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRules:
    """The settings of an event source mapping, by AWS's meaning of them; -1: no limit."""

    batch_size: int = 100
    parallelization_factor: int = 1
    max_retries: int = -1
    max_record_age_seconds: float = -1
    bisect: bool = False


@dataclass
class Lane:
    """One of the parallel ways through a shard: its records wait in order, an item's always in the same lane."""

    shard: Shard
    waiting: list[ShardRecord] = field(default_factory=list)
    done: int = 0
    batches: list[int] = field(default_factory=list)  # sizes of the next batches, where a failure has fixed them
    attempts: int = 0
    not_before: float = 0.0
    invocation: int | None = None  # the one whose answer is waited for

    @property
    def left(self) -> int:
        """How many records wait."""
        return len(self.waiting) - self.done

    @property
    def batch(self) -> list[ShardRecord]:
        """The next batch, whose size is known."""
        return self.waiting[self.done : self.done + self.batches[0]]

    def advance(self, count: int) -> None:
        """The first `count` records of the batch need no more; of what is left of it, the next batch is made."""
        self.done += count
        if not self.batches:
            return
        rest = self.batches.pop(0) - count
        if rest:
            self.batches.insert(0, rest)

    def rest(self) -> None:
        """Forget the failures: the trouble is over."""
        self.attempts, self.not_before = 0, 0.0


@dataclass
class _Reader:
    """How far a shard is read into its lanes."""

    shard: Shard
    lanes: list[Lane]
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


class Batches:
    """The lanes of a source's shards, parents before children, and how a batch's answer moves them on.

    Not known of AWS, and harsher here than it may be: attempts count on after a part of the batch succeeded.
    """

    def __init__(self, source: Source, rules: BatchRules, now: Callable[[], float], on_failure: OnFailure) -> None:
        self.rules = rules
        self.on_failure = on_failure
        self.lost: list[ShardRecord] = []
        """Records that were trimmed before anybody was given them."""
        self.counts: Counter[str] = Counter()
        self._source = source
        self._now = now
        self._readers: dict[tuple[str, str], _Reader] = {}

    @property
    def drained(self) -> bool:
        """Is everything delivered, or handed to `on_failure`, that the shards hold now?"""
        return not any(lane.left for reader in self.poll() for lane in reader.lanes) and all(
            reader.read == len(reader.shard.records) for reader in self._readers.values()
        )

    @property
    def settled(self) -> int:
        """How many records need no more."""
        return sum(lane.done for reader in self._readers.values() for lane in reader.lanes)

    def poll(self) -> list[_Reader]:
        """The shards whose parents are done, with what is new in them."""
        readers = []
        done: set[tuple[str, str]] = set()  # not an empty child either, before its parents are
        for shard in self._source.shards:
            key = shard.stream_arn, shard.id
            if (reader := self._readers.get(key)) is None:
                lanes = [Lane(shard) for _ in range(self.rules.parallelization_factor)]
                reader = self._readers[key] = _Reader(shard, lanes)
            if all((parent.stream_arn, parent.id) in done for parent in shard.parents):
                reader.poll()
                readers.append(reader)
                if reader.finished:
                    done.add(key)
        return readers

    def lanes(self) -> list[Lane]:
        """The lanes that have something to deliver, and whose last invocation is over."""
        return [lane for reader in self.poll() for lane in reader.lanes if lane.left and lane.invocation is None]

    def drop_old(self, lane: Lane) -> bool:
        """Records over the age limit are not sent: they go to `on_failure`, or are lost where the stream is shorter.
        Were there any?"""
        now, age = self._now(), self.rules.max_record_age_seconds
        limit = age if 0 <= age < RETENTION_SECONDS else RETENTION_SECONDS
        old = 0
        while old < lane.left and now - lane.waiting[lane.done + old].written > limit:
            old += 1
        if not old:
            return False
        records = lane.waiting[lane.done : lane.done + old]
        if limit < RETENTION_SECONDS:
            for start in range(0, old, self.rules.batch_size):
                self._give_up(lane, records[start : start + self.rules.batch_size], "RecordAgeExceeded")
            self.counts["too old"] += old
        else:
            self.lost += records
        lane.done += old
        lane.batches.clear()
        lane.rest()
        return True

    def answered(self, lane: Lane, batch: Sequence[ShardRecord], resume: int | None) -> None:
        """The function has answered: it is to resume at this place of the batch; None: all of it is done."""
        lane.advance(len(batch) if resume is None else resume)
        if resume is None:
            self.counts["succeeded"] += 1
            lane.rest()
        else:
            self.counts["partial"] += 1
            self._again(lane, batch[resume:], attempted=True)

    def failed(self, lane: Lane, batch: Sequence[ShardRecord]) -> None:
        """Nothing of the batch is done."""
        self.counts["failed"] += 1
        self._again(lane, batch, attempted=not self._halved(lane, batch))

    def _halved(self, lane: Lane, batch: Sequence[ShardRecord]) -> bool:
        if not self.rules.bisect or not lane.batches or len(batch) == 1:
            return False
        half = len(batch) // 2
        lane.batches[:1] = [half, len(batch) - half]
        self.counts["bisected"] += 1
        return True

    def _again(self, lane: Lane, batch: Sequence[ShardRecord], *, attempted: bool) -> None:
        if attempted:
            lane.attempts += 1
        if 0 <= self.rules.max_retries < lane.attempts:
            self._give_up(lane, batch, "RetryAttemptsExhausted")
            self.counts["exhausted"] += 1
            lane.advance(len(batch))
            lane.rest()
            return
        wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(max(lane.attempts - 1, 0), 10))
        lane.not_before = self._now() + wait

    def _give_up(self, lane: Lane, batch: Sequence[ShardRecord], condition: str) -> None:
        self.on_failure.append(
            failure_record(
                lane.shard,
                batch,
                condition=condition,
                attempts=lane.attempts,
                request_id=f"{len(self.on_failure):08d}-0000-0000-0000-000000000000",
                now=self._now(),
            )
        )
