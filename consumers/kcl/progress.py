"""The consumer's word in the log, once a minute: which tables it reads, how far it is, and what is held."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.delivery.shard import BatchFacts
from cdc.duration import spoken

__all__ = ["Progress"]

log = logging.getLogger(__name__)

_SECONDS = 60.0


class Progress:
    """Counts what is settled, and says it. A shard that is held, or goes on, says so itself at once."""

    def __init__(self, running: Running) -> None:
        self.total = 0
        """The records that this process has settled."""
        self._running = running
        self._settled: Counter[str] = Counter()
        self._since = running.clock()
        self._lock = threading.Lock()

    def batch(self, facts: BatchFacts) -> None:
        """Count a batch. Called by the threads of several shards at once."""
        with self._lock:
            self._settled[facts.table] += facts.outcomes.total()
            self.total += facts.outcomes.total()

    def start(self) -> None:
        """Say it once a minute, on a daemon thread, until a stop is asked."""

        def run() -> None:
            while not self._running.stop.wait(_SECONDS):
                self.say()

        threading.Thread(target=run, name="progress", daemon=True).start()

    def say(self) -> None:
        """One line for each table that this worker reads, and one where shards are read by nobody."""
        running = self._running
        with self._lock:
            settled, self._settled = self._settled, Counter()
            span, self._since = running.clock() - self._since, running.clock()
        if running.alive is None:
            return
        tables: dict[str, list[ShardStatus]] = {}
        for shard in list(running.shards.values()):
            tables.setdefault(shard.table, []).append(shard)
        for table, shards in sorted(tables.items()):
            self._say_of(table, shards, settled.pop(table, 0), span)
        for table, count in sorted(settled.items()):
            log.info(
                "%s: %s settled in the last %s; no shard of it is read here now", table, _records(count), _of(span)
            )
        if not tables:
            log.info("no shard to read: other workers have them, or there is none")
        if unread := running.unread():
            log.warning("%d shards are read by no worker: their records wait in the stream", unread)

    def _say_of(self, table: str, shards: Sequence[ShardStatus], settled: int, span: float) -> None:
        running, now = self._running, self._running.clock()
        held = [shard for shard in shards if shard.held_since is not None]
        text = f"{table}: {_shards(len(shards))}, {_records(settled)} settled in the last {_of(span)}, "
        text += running.outlook(shards)
        if not held:
            log.info("%s", text)
            return
        longest = max(held, key=lambda shard: shard.held_seconds(now))
        seconds = longest.held_seconds(now)
        log.warning(
            "%s. %s held since %s, for %s: %s",
            text,
            "It is" if len(held) == len(shards) else f"{len(held)} of them {'is' if len(held) == 1 else 'are'}",
            running.time_of_day(seconds),
            spoken(seconds),
            longest.held_on,
        )


def _shards(count: int) -> str:
    return "1 shard" if count == 1 else f"{count} shards"


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def _of(span: float) -> str:
    return "minute" if 55 <= span <= 65 else spoken(span)
