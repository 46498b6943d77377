"""Observed(sink): tells what became of changes in one sink, for status and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cdc.change import Change
from cdc.deadline import Deadline
from cdc.outcome import Deferred, Outcome
from cdc.sinks.around import Around

__all__ = ["Observe", "Observed"]

Observe = Callable[[str, Counter[str]], None]
"""Called with a sink's name and how many changes had which outcome; deferred ones are counted once they are not."""


@dataclass(frozen=True)
class Observed(Around):
    """A sink whose outcomes are counted."""

    observe: Observe

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's."""
        outcomes = self.sink.write(changes, deadline)
        counts = Counter(type(outcome).__name__.lower() for outcome in outcomes if not isinstance(outcome, Deferred))
        if counts:
            self.observe(self.name, counts)
        return outcomes
