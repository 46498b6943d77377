"""One shard: batches → pipeline → flush → checkpoint. No Java: what the KCL gives comes in as values and functions."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cdc.deadline import Clock, Deadline
from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.delivery.held_lines import HeldLines
from cdc.errors import SinkUnavailable
from cdc.outcome import Deferred, Outcome, leading_settled
from cdc.records.change import Change
from cdc.records.decoding import Record, size_bytes_of
from cdc.records.sequence import SequenceNumber

__all__ = [
    "BatchFacts",
    "Checkpoint",
    "LeaseLost",
    "Payload",
    "Running",
    "ShardConsumer",
    "ShardPipeline",
    "ShardSettings",
    "ShardStatus",
]

log = logging.getLogger(__name__)

_GIVE_UP_SECONDS = 3.0
"""A stop's flush leaves so much of the budget: the checkpoint and the giving up of leases come after it."""

Checkpoint = Callable[[SequenceNumber | None], None]
"""Records that all up to a sequence number is done; None: the whole shard, at its end. Raises LeaseLost."""


class LeaseLost(Exception):
    """Another worker has the shard: nothing more of it may be written or acknowledged."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A record as the KCL hands it over. `sequence` is empty where the data carry it themselves."""

    data: bytes
    sequence: str = ""


class ShardPipeline(Protocol):
    """The way of a shard's records to the sinks: `cdc.delivery.pipeline.Pipeline`."""

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


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """The facts of a batch, or of the part of it that was settled at once: for status and metrics, no item
    contents. `table` is the stream's name where that carries several tables."""

    shard: str
    table: str
    outcomes: Counter[str]
    millis_behind: int
    newest_micros: int
    stream: str = ""
    """The stream's ARN."""
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many changes, by table and operation."""
    seconds: float = 0.0
    """How long this took, since the batch came or its last part was settled."""
    size_bytes: int = 0
    """The size of the records, as the stream has them."""
    left_by_core: int = 0
    """So many records the compiled core left to Python, wholly or in part; none where there is no core."""


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
        read: Callable[[Sequence[Payload]], Sequence[Record]],
        settings: ShardSettings,
        running: Running,
        holds_lease: Callable[[], bool],
        observe: Callable[[BatchFacts], None],
        clock: Clock = time.monotonic,
        stream: str = "",
        left_by_core: Callable[[Sequence[Record]], int] = lambda _records: 0,
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
        self._left_by_core = left_by_core
        self._closed = False
        self._settled: SequenceNumber | None = None  # settled, not yet checkpointed
        self.status = ShardStatus(stream, shard, table, since=clock())
        self._lines = HeldLines(running, self.status)
        running.shards[stream, shard] = self.status

    def process(self, payloads: Sequence[Payload], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        """Settle a batch, oldest first; hold the shard while records are deferred. An empty batch lets time pass."""
        if self._closed:
            return
        self.status.millis_behind, self.status.read_at = millis_behind, self._clock()
        try:
            self._process(self._read(payloads), checkpoint, millis_behind)
            if not self._closed:
                self.status.unflushed_bytes += sum(len(payload.data) for payload in payloads)
                if self._due():
                    self._flush(checkpoint)
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (what reached the KCL would make it skip the batch)
            self._fail(failure)

    def _process(self, pending: Sequence[Record], checkpoint: Checkpoint, millis_behind: int) -> None:
        pause = self._settings.pause_seconds
        began = self._clock()
        while pending:
            outcomes = self._pipeline.write(pending, self._deadline(self._settings.attempt_seconds, self._wanted))
            count = leading_settled(outcomes)
            if count:
                self._note(pending[:count], outcomes[:count], millis_behind, self._clock() - began)
                began = self._clock()
                self.status.go_on()
            pending = pending[count:]
            if not pending:
                self._lines.goes_on(self._clock())
                return
            if not self._wanted():
                self._let_go()
                return
            self._hold(_cause(outcomes[count]))
            self._flush(checkpoint)
            if self._closed:
                return
            self._running.pause(pause)
            pause = self._settings.pause_seconds if count else min(pause * 2, self._settings.pause_max_seconds)

    def _note(self, records: Sequence[Record], outcomes: Sequence[Outcome], millis_behind: int, seconds: float) -> None:
        numbered = [record.sequence for record in records if record.sequence is not None]
        if numbered:
            self._settled = numbered[-1]
            if self.status.unflushed_since is None:
                self.status.unflushed_since = self._clock()
        changes = [record for record in records if isinstance(record, Change)]
        self._observe(
            BatchFacts(
                shard=self.shard,
                table=self._table,
                outcomes=Counter(type(outcome).__name__.lower() for outcome in outcomes),
                millis_behind=millis_behind,
                newest_micros=max((change.created_micros or 0 for change in changes), default=0),
                stream=self.status.stream,
                changes=Counter((change.table, change.operation.value) for change in changes),
                seconds=seconds,
                size_bytes=sum(map(size_bytes_of, records)),
                left_by_core=self._left_by_core(records),
            )
        )

    def lease_lost(self) -> None:
        """Drop what is open without writing it."""
        if not self._closed:
            log.info("%s: the lease of %s is lost", self._table, self.shard)
        self._close()
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
            self._close()
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (see process)
            self._fail(failure)

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        """The process is about to end: flush and checkpoint what is settled, within the budget."""
        if self._running.failure is not None or self._settled is None:
            self._close()
            return
        left = self._settings.shutdown_seconds - self._running.stopping_seconds() - _GIVE_UP_SECONDS
        try:
            self._flush_once(max(left, 0.0), self._holds_lease)
            self._checkpoint(checkpoint)
        except SinkUnavailable as error:
            log.warning("%s: not flushed before the end, its records will come again: %s", self.shard, error)
        except LeaseLost:
            self.lease_lost()
        except BaseException as failure:  # noqa: BLE001  (see process)
            self._fail(failure)
        finally:
            self._close()

    def _due(self) -> bool:
        since = self.status.unflushed_since
        if since is None:
            return False
        return (
            self.status.unflushed_bytes >= self._settings.flush_bytes
            or self._clock() - since >= self._settings.flush_seconds
        )

    def _flush(self, checkpoint: Checkpoint) -> None:
        if self._settled is None:
            return
        if self._flush_pipeline(self._wanted):
            self._checkpoint(checkpoint)
        else:
            self._let_go()

    def _let_go(self) -> None:
        """Stop reading the shard: the rest comes again, to the holder of the lease then. A stop may still flush.

        Raises:
            LeaseLost: and nothing of it may be written.
        """
        if not self._holds_lease():
            raise LeaseLost
        self._close()

    def _flush_pipeline(self, wanted: Callable[[], bool]) -> bool:
        """Try until all is durable; False if that was not wanted any more before."""
        was_held = self.status.held_since is not None
        while True:
            try:
                self._flush_once(self._settings.attempt_seconds, wanted)
            except SinkUnavailable as error:
                if not wanted():
                    return False
                self._hold(error.message)
                self._running.pause(self._settings.pause_seconds)
            else:
                if not was_held:
                    self.status.go_on()
                    self._lines.goes_on(self._clock())
                return True

    def _flush_once(self, seconds: float, wanted: Callable[[], bool]) -> None:
        began = self._clock()
        self._pipeline.flush(self._deadline(seconds, wanted))
        self.status.flush_seconds = self._clock() - began

    def _hold(self, cause: str) -> None:
        self.status.hold(cause, self._clock())
        self._lines.held(cause, self._clock())

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        checkpoint(self._settled)
        self._settled = None
        self.status.unflushed_bytes = 0
        self.status.unflushed_since = None
        self.status.checkpointed_at = self._clock()

    def _close(self) -> None:
        """Take no more batches: another worker reads the shard, or nobody does."""
        self._closed = True
        key = (self.status.stream, self.shard)
        if self._running.shards.get(key) is self.status:
            del self._running.shards[key]

    def _wanted(self) -> bool:
        return not self._running.stop.is_set() and self._holds_lease()

    def _deadline(self, seconds: float, wanted: Callable[[], bool]) -> Deadline:
        return Deadline.after(seconds, clock=self._clock, wanted=wanted)

    def _fail(self, failure: BaseException) -> None:
        self._close()
        log.error("%s: can't be handled, nothing more of it is acknowledged: %s", self.shard, type(failure).__name__)
        self._running.fail(failure)


def _cause(outcome: Outcome) -> str:
    return outcome.cause.text if isinstance(outcome, Deferred) else type(outcome).__name__
