"""Traced(sink): a span for each write and each flush."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.outcome import Outcome
from cdc.records.change import Change
from cdc.sinks import Sink
from cdc.tracing import UNTRACED, Spans

__all__ = ["Traced"]


class Traced(SinkWrapper):
    """Makes spans of a sink's writes and flushes, `cdc.write` and `cdc.flush`, with its name and counts of outcomes."""

    def __init__(self, sink: Sink, spans: Spans = UNTRACED) -> None:
        super().__init__(sink)
        self._spans = spans

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write within a span."""
        with self._spans("cdc.write") as facts:
            facts.update(sink=self.name, changes=len(changes))
            outcomes = self.sink.write(changes, deadline)
            facts.update(Counter(type(outcome).__name__.lower() for outcome in outcomes))
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        """Flush within a span."""
        with self._spans("cdc.flush") as facts:
            facts.update(sink=self.name)
            self.sink.flush(deadline)
