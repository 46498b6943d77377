"""Pipeline: records of one shard → sinks → how far they are settled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.causes import CauseKind
from cdc.dead_letters.letter import UNREADABLE_SINK
from cdc.dead_letters.store import DeadLetterStore
from cdc.deadline import Deadline
from cdc.delivery.checked import checked
from cdc.delivery.dead_lettering import keep_unreadable
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, DeadLettered, Observer, Retried
from cdc.outcome import Deferred, Outcome, Progress, leading_settled, settled
from cdc.records.change import Change, StreamView
from cdc.records.decoding import Record, Unreadable
from cdc.records.stream import Stream
from cdc.sinks import Sink

__all__ = ["Pipeline", "Prepare", "prepared_already"]

_FLUSH_SECONDS = 10.0
"""The most that a batch's writes leave for the flush, unless it is told what the flush needs: a good prefix must be
acknowledged though a write hangs."""
_UNTRIED = Deferred.untried("not tried yet")
_BEHIND_UNREADABLE = Deferred.untried("an unreadable record before it is not kept yet")


log = logging.getLogger(__name__)

Prepare = Callable[[Stream, Sequence[str], StreamView, Deadline], object]
"""Gets the table of a stream ready, given its key attributes and the stream's view.

Raises ConfigError if it cannot be handled, SinkUnavailable if a server is out of reach. Several threads call it.
"""


def prepared_already(stream: Stream, keys: Sequence[str], view: StreamView, deadline: Deadline) -> None:
    """Nothing is left to prepare."""


@dataclass(frozen=True)
class Pipeline:
    """Settles the records of one shard; used by one thread at a time."""

    sink: Sink
    dead_letters: DeadLetterStore | None
    observer: Observer = UNOBSERVED
    letter_seconds: float = 0.0
    """How long storing one dead letter may take: none is begun with less time left. 0: whatever the time."""
    flush_seconds: float | None = None
    """The time that `process` leaves for the flush."""
    prepare: Prepare = prepared_already
    """Gets a table ready; called for each table and stream of a batch, before its changes are written."""

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """Write the records, oldest first; one outcome a record. Acknowledge only after `flush`.

        All are Deferred while a table cannot be prepared because a server is out of reach.

        Raises:
            ConfigError: a table cannot be handled; names it.
            SinkMisconfigured: a retry cannot help; stop.
        """
        try:
            self._prepare(records, deadline)
        except SinkUnavailable as error:
            self.observer(Retried(error.sink, error.cause.label))
            log.warning("nothing is written: %s", " → ".join(filter(None, (error.message, error.remedy))))
            return [Deferred(error.cause, error.wait_seconds)] * len(records)
        outcomes: list[Outcome] = []
        changes: list[Change] = []
        unreadable = [record for record in records if isinstance(record, Unreadable)]
        in_time = deadline.earlier(self.letter_seconds) if self.letter_seconds else None
        kept = iter(keep_unreadable(unreadable, self.dead_letters, in_time=in_time))
        for record in records:
            if isinstance(record, Unreadable):
                outcome = next(kept)
                if not settled(outcome):
                    behind = [_BEHIND_UNREADABLE] * (len(records) - len(outcomes) - 1)
                    return [*self._merge(outcomes, changes, deadline), outcome, *behind]
                self.observer(DeadLettered(UNREADABLE_SINK, CauseKind.UNREADABLE_RECORD.value))
                outcomes.append(outcome)
            else:
                outcomes.append(_UNTRIED)
                changes.append(record)
        return self._merge(outcomes, changes, deadline)

    def _prepare(self, records: Sequence[Record], deadline: Deadline) -> None:
        seen = set()
        for record in records:
            if isinstance(record, Change) and (origin := (record.stream.arn, record.table)) not in seen:
                self.prepare(record.stream, tuple(record.raw_keys), record.view, deadline)
                seen.add(origin)

    def _merge(self, outcomes: Sequence[Outcome], changes: Sequence[Change], deadline: Deadline) -> list[Outcome]:
        written = iter(checked(self.sink, changes, self.sink.write(changes, deadline)) if changes else ())
        return [next(written) if isinstance(outcome, Deferred) else outcome for outcome in outcomes]

    def flush(self, deadline: Deadline) -> None:
        """Return when all that was applied is durable.

        Raises:
            SinkUnavailable: durability is unknown: acknowledge nothing since the last flush.
        """
        self.sink.flush(deadline)

    def close(self) -> None:
        """Drop what is not flushed, release what is held."""
        self.sink.close()

    def process(self, records: Sequence[Record], deadline: Deadline) -> Progress:
        """Write and flush one batch: how many leading records are settled, and where to resume.

        Where the first unsettled record has no sequence number, the nearest before it that has one is named: more
        is delivered again than need be. None at all: SinkUnavailable, so that the whole batch comes again.
        """
        reserve = self.flush_seconds
        if reserve is None:
            reserve = min(_FLUSH_SECONDS, deadline.remaining_seconds / 5)
        outcomes = self.write(records, deadline.earlier(reserve))
        count = leading_settled(outcomes)
        try:
            self.flush(deadline)
        except SinkUnavailable:
            count = 0
            if not records:
                raise
        if count == len(records):
            return Progress(count, None)
        for position in range(count, -1, -1):
            if (sequence := records[position].sequence) is not None:
                return Progress(position, sequence)
        raise SinkUnavailable("pipeline", "the first record is not settled and has no sequence number to resume at")
