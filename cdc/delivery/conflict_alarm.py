"""ConflictAlarm(sink): a share of superseded changes that no replay explains means that a source ranks too low."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cdc.deadline import Deadline
from cdc.delivery.wrapper import Around
from cdc.outcome import Applied, Outcome, Superseded
from cdc.records.change import Change

__all__ = ["ConflictAlarm"]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Tally:
    written: int = 0
    conflicts: int = 0
    highest: dict[str, int] = field(default_factory=dict)
    """The highest sequence number seen of each stream."""


@dataclass(frozen=True)
class ConflictAlarm(Around):
    """A sink watched for changes that it supersedes though nobody can have written them before.

    Changes made before this process (`started`, seconds since 1970) may have been written by an earlier one, and those
    behind which this one was already may have been written by itself: they explain themselves. Of the others, a share
    of `share` in `window` changes is an error in the log.
    """

    started: float = field(default_factory=time.time)
    share: float = 0.1
    window: int = 1000
    alarm: Callable[[str], None] = log.error
    _tally: _Tally = field(default_factory=_Tally, repr=False, compare=False)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's."""
        outcomes = self.sink.write(changes, deadline)
        for change, outcome in zip(changes, outcomes, strict=True):
            is_new = self._is_new(change)
            if is_new and change.created_micros >= self.started * 1e6 and isinstance(outcome, Applied | Superseded):
                self._tally.written += 1
                self._tally.conflicts += isinstance(outcome, Superseded) and not outcome.explained
        if self._tally.written >= self.window:
            if self._tally.conflicts >= self.share * self._tally.written:
                self.alarm(
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
