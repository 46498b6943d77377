"""Pipeline: records of one shard → sinks → how far they are settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.dead_letters.letter import UNREADABLE_SINK
from cdc.deadline import Deadline
from cdc.delivery.dead_lettering import DeadLetterStore, keep_unreadable
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, Observer
from cdc.outcome import Deferred, Outcome, Progress, leading_settled, settled
from cdc.records.change import Change
from cdc.records.decoding import Record, Unreadable
from cdc.sinks import Sink

__all__ = ["Pipeline"]

_FLUSH_SECONDS = 10.0
"""What a batch's writes leave for the flush, at most, unless it is told what the flush needs: a good prefix must be
acknowledged though a write hangs."""
_BEHIND_UNREADABLE = Deferred("an unreadable record before it is not kept yet", tried=False)


@dataclass(frozen=True)
class Pipeline:
    """What is done with the records of one shard; used by one thread at a time."""

    sink: Sink
    dead_letters: DeadLetterStore | None
    observer: Observer = UNOBSERVED
    letter_seconds: float = 0.0
    """How long storing one dead letter may take: none is begun with less time left. 0: whatever the time."""
    flush_seconds: float | None = None
    """What `process` leaves of its time for the flush."""

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """Write the records, oldest first; one outcome a record. Acknowledge only after `flush`.

        Raises:
            SinkMisconfigured: a retry cannot help; stop.
        """
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
                self.observer.kept(UNREADABLE_SINK, "unreadable_record")
                outcomes.append(outcome)
            else:
                outcomes.append(Deferred("not tried yet", tried=False))
                changes.append(record)
        return self._merge(outcomes, changes, deadline)

    def _merge(self, outcomes: Sequence[Outcome], changes: Sequence[Change], deadline: Deadline) -> list[Outcome]:
        written = iter(self.sink.write(changes, deadline) if changes else ())
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
