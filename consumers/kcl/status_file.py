"""What a consumer tells of its batches: to an observer, and as lines of JSON to whoever follows along."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc.delivery.shard import BatchFacts
from cdc.observer import Observer

__all__ = ["StatusFile", "tell"]


def tell(observer: Observer, facts: BatchFacts) -> None:
    """Tell an observer what a shard says of a batch."""
    observer.settled(facts.table, facts.outcomes.total(), facts.seconds, facts.size_bytes)
    for (table, operation), count in facts.changes.items():
        observer.changed(table, operation, count)


@dataclass(frozen=True)
class StatusFile(Observer):
    """Appends to `path`; without one nothing is written."""

    path: Path | None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def batch(self, facts: BatchFacts) -> None:
        """What was settled, and how far behind the stream's tip that is."""
        self._append(
            {
                "shard": facts.shard,
                "table": facts.table,
                "settled": facts.outcomes.total(),
                "millis_behind": facts.millis_behind,
                "newest_micros": facts.newest_micros,
            }
        )

    def wrote(self, sink: str, outcomes: Counter[str]) -> None:
        """See `Observer.wrote`."""
        self._append({"sink": sink, "outcomes": dict(outcomes)})

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
