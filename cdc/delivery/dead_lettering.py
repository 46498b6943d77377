"""DeadLettering(sink): keeps what a sink rejects as dead letters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cdc.causes import Cause, CauseKind
from cdc.dead_letters.letter import UNREADABLE_SINK, letter_of
from cdc.dead_letters.s3 import AT_ONCE
from cdc.dead_letters.store import DeadLetterStore
from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, DeadLettered, Observer
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.records.change import Change
from cdc.records.decoding import Record, Unreadable
from cdc.sinks import Sink

__all__ = ["DeadLettering", "keep_unreadable"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_LETTERS_SECONDS = 1.0  # beside the one that may take longest, for the usual ones before it
_ONCE_IN = timedelta(minutes=10)
_REMEMBERED = 2000
_NOT_STORED = "rejected, and the dead letter could not be stored"


def _now() -> datetime:
    return datetime.now(UTC)


class DeadLettering(SinkWrapper):
    """Stores a dead letter for each change that the sink rejects. Without a store, rejected changes are deferred."""

    def __init__(
        self,
        sink: Sink,
        store: DeadLetterStore | None,
        now: Callable[[], datetime] = _now,
        observer: Observer = UNOBSERVED,
        needs_seconds: float = 0.0,
    ) -> None:
        """
        Args:
            needs_seconds: the time that storing one letter may take. The sink leaves as much of the deadline, and no
                letter is begun with less. 0 means no time limit: a letter must be stored even when the batch's time is
                up, because later records wait for it.
        """
        super().__init__(sink)
        self._store = store
        self._now = now
        self._observer = observer
        self._needs_seconds = needs_seconds
        self._recent: dict[str, datetime] = {}

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write; a Rejected outcome is kept, and a rejection that could not be stored is Deferred."""
        in_time = None
        if self._needs_seconds:
            in_time = deadline.earlier(self._needs_seconds)
            deadline = in_time.earlier(_LETTERS_SECONDS)
        outcomes = self.sink.write(changes, deadline)
        rejected = [(one, why) for one, why in zip(changes, outcomes, strict=True) if isinstance(why, Rejected)]
        kept = _at_once(lambda entry: self._kept_once(*entry, in_time), rejected, self._store)
        self._tell(kept)
        kept_of = iter(kept)
        return [next(kept_of) if isinstance(outcome, Rejected) else outcome for outcome in outcomes]

    def _kept_once(self, change: Change, rejected: Rejected, in_time: Deadline | None) -> Outcome:
        """Keep the letter, but not again within ten minutes: a held batch is written again and again."""
        name, now = f"{change.identity} {rejected.document} {rejected.cause}", self._now()
        if (kept_at := self._recent.get(name)) is not None and now - kept_at < _ONCE_IN:
            return replace(rejected, kept=True)
        outcome = _kept(change, rejected, self.name, self._store, self._now, in_time)
        if isinstance(outcome, Rejected):
            self._recent[name] = now
            while len(self._recent) > _REMEMBERED:
                self._recent.pop(next(iter(self._recent)), None)
        return outcome

    def _tell(self, kept: Sequence[Outcome]) -> None:
        for rejected in kept:
            if isinstance(rejected, Rejected):
                for one in (rejected, *rejected.others):
                    self._observer(DeadLettered(self.name, one.cause.label))


def _at_once(keep: Callable[[_T], Outcome], entries: Sequence[_T], store: DeadLetterStore | None) -> list[Outcome]:
    """Store letters in parallel: a shard of nothing but poison must not wait for one request after the other."""
    workers = min(getattr(store, "at_once", AT_ONCE), len(entries))
    if workers < 2:
        return [keep(entry) for entry in entries]
    with ThreadPoolExecutor(workers, thread_name_prefix="dead-letters") as pool:
        return list(pool.map(keep, entries))


def keep_unreadable(
    records: Sequence[Unreadable],
    store: DeadLetterStore | None,
    now: Callable[[], datetime] = _now,
    in_time: Deadline | None = None,
) -> Sequence[Outcome]:
    """Keep records that are no changes, many at once: each Rejected and kept, or Deferred if it could not be stored.

    No letter is begun after `in_time`.
    """

    def keep(record: Unreadable) -> Outcome:
        rejected = Rejected(Cause(record.error.message, CauseKind.UNREADABLE_RECORD), str(record.error))
        return _kept(record, rejected, UNREADABLE_SINK, store, now, in_time)

    return _at_once(keep, records, store)


def _kept(
    record: Record,
    rejected: Rejected,
    sink: str,
    store: DeadLetterStore | None,
    now: Callable[[], datetime],
    in_time: Deadline | None,
) -> Outcome:
    if store is None:
        text = "rejected, and there is no dead-letter store"
        return Deferred(rejected.cause.under(CauseKind.NO_DEAD_LETTER_STORE, text))
    for one in (rejected, *rejected.others):
        if in_time is not None and in_time.expired:
            text = f"{_NOT_STORED}: the deadline has passed"
            return Deferred(Cause(text, CauseKind.DEAD_LETTER_NOT_STORED))
        letter = letter_of(record, one, sink, now())
        try:
            store.keep(letter)
        except SinkUnavailable as error:
            text = f"{_NOT_STORED}: {error.message}. {error.remedy}"
            return Deferred(Cause(text, CauseKind.DEAD_LETTER_NOT_STORED), error.wait_seconds)
        where = f" for {one.document.partition('/')[0]}" if one.document else ""
        log.warning(
            "%s: a change of %s is rejected%s: %s; kept as the dead letter %s",
            *(sink, letter.table, where, one.cause, letter.name),
        )
    return replace(rejected, kept=True)
