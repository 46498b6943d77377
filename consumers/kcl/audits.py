"""Audits: while the consumer reads, random items of its tables are compared with their documents, a few at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc.delivery.consumer_state import Running
from cdc.errors import CdcError
from cdc.verification.audit import Audit, AuditFigure

__all__ = ["Audits"]

log = logging.getLogger(__name__)

_AT_ONCE = 50
"""Items of one look: what differs is waited for once a look."""
_HOUR = 3600.0
_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 60.0
"""After a fault nothing is asked for so long."""
_SETTLE_SECONDS = 5.0
_MOST_BEHIND_SECONDS = 60.0
"""Further behind, an index is not what its table says, and that is no drift."""


@dataclass(frozen=True)
class Audits:
    """Audits tables on a thread of its own, each at a rate, as long as this worker reads and is not far behind.

    The figures are in `running.audits`; a line of the log tells each once an hour, and its first difference at once.
    """

    running: Running
    audits: Sequence[Audit]
    items_per_hour: int
    """The figures of each table."""
    _told: dict[str, float] = field(default_factory=dict)
    """When a table's figure was logged last."""

    def start(self) -> None:
        """Audit until the consumer stops."""
        threading.Thread(target=self._run, name="audits", daemon=True).start()

    def _run(self) -> None:
        running = self.running
        while not running.stop.wait(_PAUSE_SECONDS):
            if not self.is_due():
                continue
            began = running.clock()
            pause = self.interval_seconds
            for audit in self.audits:
                if not running.stop.is_set() and not self.looked(audit):
                    pause = max(pause, _AGAIN_SECONDS)
            running.stop.wait(max(0.0, pause - _PAUSE_SECONDS - (running.clock() - began)))

    @property
    def items_at_once(self) -> int:
        """Items of one look."""
        return min(_AT_ONCE, self.items_per_hour)

    @property
    def interval_seconds(self) -> float:
        """From the beginning of one look at a table to that of the next."""
        return _HOUR * self.items_at_once / self.items_per_hour

    def is_due(self) -> bool:
        """Does this worker read, and is every shard close to its stream's tip? Else what differs would be what was not
        read yet."""
        running = self.running
        shards = list(running.shards.values())
        if running.alive is None or running.repairing or not any(shard.read_at is not None for shard in shards):
            return False
        return self._behind_seconds() <= _MOST_BEHIND_SECONDS and not running.unread()

    def _behind_seconds(self) -> float:
        now = self.running.clock()
        return max((shard.age_seconds(now) for shard in list(self.running.shards.values())), default=0.0)

    def looked(self, audit: Audit) -> bool:
        """Look at a table once; False if it could not be looked at, which is no reason to stop."""
        try:
            figure = audit.look(self.items_at_once, settle_seconds=_SETTLE_SECONDS + self._behind_seconds())
        except CdcError as error:
            log.warning("%s: the audit failed, and is tried again: %s", audit.table, error)
            return False
        except Exception as error:  # noqa: BLE001  (an audit that ended for a fault would be missed by nobody)
            log.warning("%s: the audit failed, and is tried again: %s", audit.table, type(error).__name__)
            return False
        self._tell(figure)
        return True

    def _tell(self, figure: AuditFigure) -> None:
        before = self.running.audits.get(figure.table)
        self.running.audits[figure.table] = figure
        now = self.running.clock()
        is_first = figure.differences > 0 and (before is None or not before.differences)
        if not is_first and now - self._told.setdefault(figure.table, now) < _HOUR:
            return
        self._told[figure.table] = now
        tell = log.warning if figure.left else log.info
        tell("%s: audited since %s: %s", figure.table, f"{figure.since:%Y-%m-%dT%H:%M:%SZ}", figure.verdict)
