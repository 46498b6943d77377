"""The log's lines about a shard that is held: one when it begins, one for another cause, one when the shard goes on."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.duration import spoken

__all__ = ["HeldLines"]

log = logging.getLogger(__name__)

_BETWEEN_SECONDS = 10.0
"""A shard that is held for one cause after the other says no more than one line in this time."""


@dataclass(slots=True)
class HeldLines:
    """Called by the shard's thread. A shard whose batch gets on in part stays held until the whole batch is settled."""

    running: Running
    status: ShardStatus
    _cause: str | None = None
    _since: float = 0.0
    _said_at: float = 0.0

    def held(self, cause: str, now: float) -> None:
        """The shard waits; `cause` quotes no item."""
        if self._cause is None:
            self._since = now
        elif self._cause == cause or now - self._said_at < _BETWEEN_SECONDS:
            return
        self._cause, self._said_at = cause, now
        log.warning(
            "%s: %s is held since %s: %s; %s",
            self.status.table,
            self.status.shard,
            self.running.time_of_day(now - self._since),
            cause,
            self.running.outlook([self.status]),
        )

    def goes_on(self, now: float) -> None:
        """Nothing of the batch waits any more."""
        if self._cause is not None:
            self._cause = None
            held = spoken(now - self._since)
            log.info("%s: %s goes on, after it was held for %s", self.status.table, self.status.shard, held)
