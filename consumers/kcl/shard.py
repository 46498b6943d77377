"""One shard: batches → pipeline → flush → checkpoint. No Java: what the KCL gives comes in as values and functions."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cdc.deadline import Clock, Deadline
from cdc.errors import SinkUnavailable
from cdc.outcome import Deferred, Outcome, leading_settled
from cdc.sequence import SequenceNumber
from cdc.sources import Record

__all__ = ["BatchFacts", "Checkpoint", "LeaseLost", "Running", "ShardConsumer", "ShardPipeline", "ShardSettings"]

log = logging.getLogger(__name__)

Checkpoint = Callable[[SequenceNumber | None], None]
"""Records that all up to a sequence number is done; None: the whole shard, at its end. Raises LeaseLost."""


class LeaseLost(Exception):
    """Another worker has the shard: nothing more of it may be written or acknowledged."""


class ShardPipeline(Protocol):
    """What is done with a shard's records: `cdc.pipeline.Pipeline`."""

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """One outcome a record."""
        ...

    def flush(self, deadline: Deadline) -> None:
        """Return when all that was applied is durable; raises SinkUnavailable."""
        ...

    def close(self) -> None:
        """Drop what is not flushed."""
        ...


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """When a shard is flushed and checkpointed, and how long one round of attempts takes."""

    flush_bytes: int = 8 * 1024 * 1024
    flush_seconds: float = 60.0
    attempt_seconds: float = 15.0
    shutdown_seconds: float = 25.0
    pause_seconds: float = 0.2
    pause_max_seconds: float = 5.0


@dataclass(slots=True)
class Running:
    """What all shards of a process share: whether to stop, and the first failure."""

    stop: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def pause(self, seconds: float) -> None:
        """Wait; a stop that is asked meanwhile ends it, one that was asked before does not: that is for a flush."""
        if self.stop.is_set():
            time.sleep(seconds)
        else:
            self.stop.wait(seconds)

    def fail(self, failure: BaseException) -> None:
        """Note the first failure and ask everything to stop."""
        if self.failure is None:
            self.failure = failure
        self.stop.set()


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What was done with a batch: for status and metrics, no item contents."""

    shard: str
    table: str
    outcomes: Counter[str]
    millis_behind: int
    newest_micros: int


class ShardConsumer:
    """Called by the KCL, one call at a time.

    Nothing escapes: a failure is noted in `running`, and from then on this shard takes and acknowledges nothing (an
    exception that reached the KCL would make it skip the batch).
    """

    def __init__(
        self,
        *,
        shard: str,
        table: str,
        pipeline: ShardPipeline,
        read: Callable[[bytes], Record],
        settings: ShardSettings,
        running: Running,
        holds_lease: Callable[[], bool],
        observe: Callable[[BatchFacts], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self.shard = shard
        self._table = table
        self._pipeline = pipeline
        self._read = read
        self._settings = settings
        self._running = running
        self._holds_lease = holds_lease
        self._observe = observe
        self._clock = clock
        self._closed = False
        self._settled: SequenceNumber | None = None  # settled, not yet checkpointed
        self._unflushed_bytes = 0
        self._unflushed_since: float | None = None

    def process(self, payloads: Sequence[bytes], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        """Settle a batch, oldest first; hold the shard while records are deferred. An empty batch lets time pass."""
        if self._closed:
            return
        try:
            self._process([self._read(payload) for payload in payloads], checkpoint, millis_behind)
            if not self._closed:
                self._unflushed_bytes += sum(map(len, payloads))
                if self._due():
                    self._flush(checkpoint)
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (what reached the KCL would make it skip the batch)
            self._fail(failure)

    def _process(self, pending: list[Record], checkpoint: Checkpoint, millis_behind: int) -> None:
        pause = self._settings.pause_seconds
        while pending:
            outcomes = self._pipeline.write(pending, self._deadline(self._settings.attempt_seconds, self._wanted))
            count = leading_settled(outcomes)
            self._note(pending[:count], outcomes[:count], millis_behind)
            pending = pending[count:]
            if not pending:
                return
            if not self._wanted():
                self._closed = True  # what is left comes again, to whoever holds the lease then
                return
            log.warning("%s is held: %s", self.shard, _cause(outcomes[count]))
            self._flush(checkpoint)
            if self._closed:
                return
            self._running.pause(pause)
            pause = self._settings.pause_seconds if count else min(pause * 2, self._settings.pause_max_seconds)

    def _note(self, records: Sequence[Record], outcomes: Sequence[Outcome], millis_behind: int) -> None:
        if not records:
            return
        numbered = [record.sequence for record in records if record.sequence is not None]
        if numbered:
            self._settled = numbered[-1]
            self._unflushed_since = self._unflushed_since or self._clock()
        newest = max((getattr(record, "created_micros", 0) for record in records), default=0)
        kinds = Counter(type(outcome).__name__.lower() for outcome in outcomes)
        self._observe(BatchFacts(self.shard, self._table, kinds, millis_behind, newest))

    def lease_lost(self) -> None:
        """Drop what is open without writing it."""
        if not self._closed:
            log.info("%s: the lease is lost", self.shard)
        self._closed = True
        self._settled = None  # what is dropped here must not be acknowledged by a later call
        self._pipeline.close()

    def shard_ended(self, checkpoint: Checkpoint) -> None:
        """All of the shard was delivered: flush, and mark it done, so that its children may be read."""
        if self._closed:
            return
        try:
            if self._flush_pipeline(self._holds_lease):
                checkpoint(None)
                self._settled = None  # the end stands for all before it
            self._closed = True
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (see process)
            self._fail(failure)

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        """The process is about to end: flush and checkpoint what is settled, within the budget."""
        if self._running.failure is not None or self._settled is None:
            return
        try:
            self._pipeline.flush(self._deadline(self._settings.shutdown_seconds / 2, self._holds_lease))
            self._checkpoint(checkpoint)
        except SinkUnavailable as error:
            log.warning("%s: not flushed before the end, its records will come again: %s", self.shard, error)
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (see process)
            self._fail(failure)
        finally:
            self._closed = True

    def _due(self) -> bool:
        if self._unflushed_since is None:
            return False
        return (
            self._unflushed_bytes >= self._settings.flush_bytes
            or self._clock() - self._unflushed_since >= self._settings.flush_seconds
        )

    def _flush(self, checkpoint: Checkpoint) -> None:
        if self._settled is None:
            return
        if self._flush_pipeline(self._wanted):
            self._checkpoint(checkpoint)
        else:
            self._closed = True  # what is open stays so: a stop may still flush it, a lost lease drops it

    def _flush_pipeline(self, wanted: Callable[[], bool]) -> bool:
        """Try until all is durable; False if that was not wanted any more before."""
        while True:
            try:
                self._pipeline.flush(self._deadline(self._settings.attempt_seconds, wanted))
            except SinkUnavailable as error:
                if not wanted():
                    return False
                log.warning("%s is held: %s", self.shard, error.message)
                self._running.pause(self._settings.pause_seconds)
            else:
                return True

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        checkpoint(self._settled)
        self._settled = None
        self._unflushed_bytes = 0
        self._unflushed_since = None

    def _wanted(self) -> bool:
        return not self._running.stop.is_set() and self._holds_lease()

    def _deadline(self, seconds: float, wanted: Callable[[], bool]) -> Deadline:
        return Deadline.after(seconds, clock=self._clock, wanted=wanted)

    def _fail(self, failure: BaseException) -> None:
        self._closed = True
        log.error("%s: can't be handled, nothing more of it is acknowledged: %s", self.shard, type(failure).__name__)
        self._running.fail(failure)


def _cause(outcome: Outcome) -> str:
    return outcome.cause if isinstance(outcome, Deferred) else type(outcome).__name__
