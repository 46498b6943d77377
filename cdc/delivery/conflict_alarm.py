"""ConflictAlarm(sink): a share of superseded changes that no replay explains means that a source ranks too low."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.outcome import Applied, Outcome, Superseded
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["ConflictAlarm"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    written: int = 0
    conflicts: int = 0
    highest: dict[str, int] = field(default_factory=dict)
    """The highest sequence number seen of each stream."""


class ConflictAlarm(SinkWrapper):
    """Logs an error if more than `share` of first-time changes are superseded: another writer owns these documents, or
    this source ranks too low.

    Changes made before this process (`started`, seconds since 1970) may have been written by an earlier one, and those
    behind which this one was already may have been written by itself: they explain themselves. Of the others, a share
    of `share` in `window` changes is an error in the log.
    """

    def __init__(
        self,
        sink: Sink,
        started: float | None = None,
        share: float = 0.1,
        window: int = 1000,
        alarm: Callable[[str], None] = log.error,
    ) -> None:
        super().__init__(sink)
        self._started = time.time() if started is None else started
        self._share = share
        self._window = window
        self._alarm = alarm
        self._tally = _Tally()

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write, and count."""
        outcomes = self.sink.write(changes, deadline)
        for change, outcome in zip(changes, outcomes, strict=True):
            made = change.created_micros
            is_new = self._is_new(change) and made is not None and made >= self._started * 1e6
            if is_new and isinstance(outcome, Applied | Superseded):
                self._tally.written += 1
                self._tally.conflicts += isinstance(outcome, Superseded) and not outcome.explained
        if self._tally.written >= self._window:
            if self._tally.conflicts >= self._share * self._tally.written:
                self._alarm(
                    f"{self.name}: {self._tally.conflicts} of the last {self._tally.written} changes were superseded "
                    "by states that it holds, and no replay explains it: another writer has the same documents, or "
                    "this source ranks below an earlier one. Look at _meta.cdc of the index's mapping"
                )
            self._tally.written = self._tally.conflicts = 0
        return outcomes

    def _is_new(self, change: Change) -> bool:
        stream, number = change.stream.arn, change.sequence.value
        if number <= self._tally.highest.get(stream, -1):
            return False
        self._tally.highest[stream] = number
        return True
