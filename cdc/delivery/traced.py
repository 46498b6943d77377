"""Traced(sink): a span for each write and each flush."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cdc.deadline import Deadline
from cdc.delivery.wrapper import Around
from cdc.outcome import Outcome
from cdc.records.change import Change
from cdc.tracing import UNTRACED, Spans

__all__ = ["Traced"]


@dataclass(frozen=True)
class Traced(Around):
    """A sink whose writes and flushes are spans, `cdc.write` and `cdc.flush`, with its name and counts of outcomes."""

    spans: Spans = UNTRACED

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's."""
        with self.spans("cdc.write") as facts:
            facts.update(sink=self.name, changes=len(changes))
            outcomes = self.sink.write(changes, deadline)
            facts.update(Counter(type(outcome).__name__.lower() for outcome in outcomes))
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        """As the sink's."""
        with self.spans("cdc.flush") as facts:
            facts.update(sink=self.name)
            self.sink.flush(deadline)
