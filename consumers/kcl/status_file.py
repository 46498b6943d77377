"""A consumer's report of its batches: to an observer, and as lines of JSON in a file."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc.delivery.shard import BatchFacts
from cdc.observer import ChangesSettled, Event, Observer, RecordsSettled, Wrote

__all__ = ["StatusFile", "tell"]


def tell(observer: Observer, facts: BatchFacts) -> None:
    """Tell an observer what a shard says of a batch."""
    observer(RecordsSettled(facts.table, facts.outcomes.total(), facts.seconds, facts.size_bytes, facts.left_by_core))
    for (table, operation), count in facts.changes.items():
        observer(ChangesSettled(table, operation, count))


@dataclass(frozen=True)
class StatusFile:
    """Appends to `path`; without one nothing is written."""

    path: Path | None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def batch(self, facts: BatchFacts) -> None:
        """Note what was settled, and how far behind the stream's tip that is."""
        self._append(
            {
                "shard": facts.shard,
                "table": facts.table,
                "settled": facts.outcomes.total(),
                "millis_behind": facts.millis_behind,
                "newest_micros": facts.newest_micros,
            }
        )

    def __call__(self, event: Event) -> None:
        """Add a line for each sink's outcomes."""
        if isinstance(event, Wrote):
            self._append({"sink": event.sink, "outcomes": dict(event.outcomes)})

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is not None:
            with self._lock, self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
