"""Health: whether the consumer lives, and whether changes get on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cdc.delivery.consumer_state import Running, ShardStatus

__all__ = ["Health", "Report"]


@dataclass(frozen=True, slots=True)
class Report:
    """An answer: is it well, and what is to be said."""

    ok: bool
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Health:
    """The answers of `/healthz` and `/readyz`, from what the consumer notes in `running`.

    `alive` says that the process is worth keeping; `ready` that changes get on. A consumer whose sink is down is alive
    and not ready: to start it anew would help nobody.
    """

    running: Running
    unreachable: Callable[[], Mapping[str, str]]
    """By each sink that does not answer, what was seen instead."""
    unclaimed: Callable[[], int | None] = lambda: None
    """How many shards no worker reads; None: not known."""
    degraded_after_seconds: float = 60.0
    now: Callable[[], float] = time.time
    """Seconds since 1970."""

    def alive(self) -> Report:
        """No failure was noted, and the scheduler runs, or is about to be started."""
        running = self.running
        if running.failure is not None:
            return Report(False, {"state": "failed", "failure": type(running.failure).__name__})
        if running.alive is not None and not running.stop.is_set() and not running.alive():
            return Report(False, {"state": "failed", "failure": "the KCL's scheduler does not run"})
        return Report(True, {"state": "alive"})

    def ready(self) -> Report:
        """Alive and started, with shards to read or none left to claim, no sink out of reach, no shard held for
        longer than `degraded_after_seconds`, and no table that is repaired after a gap."""
        shards, unreachable, unclaimed = list(self.running.shards.values()), self.unreachable(), self.unclaimed()
        degraded = [self._degraded(shard) for shard in shards if self._is_degraded(shard)]
        degraded += [self._repairing(table, since) for table, since in list(self.running.repairing.items())]
        state = self._state(bool(shards) or unclaimed == 0, bool(unreachable), bool(degraded))
        body = {"state": state, "shards": len(shards), "degraded": degraded, "unreachable": dict(unreachable)}
        audits = list(self.running.audits.values())
        if audits:  # drift makes nobody wait: it is told, and decides nothing
            body["audit"] = [figure.facts() for figure in audits]
        return Report(state == "ready", body)

    def _state(self, has_work: bool, unreachable: bool, degraded: bool) -> str:
        if not self.alive().ok:
            return "failed"
        if self.running.stop.is_set():
            return "stopping"
        if self.running.alive is None:
            return "starting"
        if unreachable:
            return "unreachable"
        if degraded:
            return "degraded"
        return "ready" if has_work else "waiting for shards"

    def _is_degraded(self, shard: ShardStatus) -> bool:
        return shard.held_since is not None and shard.held_seconds(self.running.clock()) >= self.degraded_after_seconds

    def _repairing(self, table: str, since: float) -> dict[str, Any]:
        seconds = self.running.clock() - since
        return {
            "table": table,
            "repairing": "after a gap: the whole table is verified",
            "since": datetime.fromtimestamp(self.now() - seconds, UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds),
        }

    def _degraded(self, shard: ShardStatus) -> dict[str, Any]:
        held = shard.held_seconds(self.running.clock())
        since = datetime.fromtimestamp(self.now() - held, UTC)
        return {
            "table": shard.table,
            "shard": shard.shard,
            "held_on": shard.held_on,
            "since": since.isoformat(timespec="seconds"),
            "seconds": round(held),
        }
