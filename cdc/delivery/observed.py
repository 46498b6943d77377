"""Observed(sink): tells what became of changes in one sink, for status and metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cdc.deadline import Clock, Deadline
from cdc.delivery.wrapper import Around
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, Observer, reason_of
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change

__all__ = ["Observed"]


@dataclass(frozen=True)
class Observed(Around):
    """A sink whose outcomes are told. What leaves it deferred is written again by whoever stands around it, once for
    each reason; changes that were not tried are no retry."""

    observer: Observer = UNOBSERVED
    clock: Clock = time.monotonic

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's."""
        began = self.clock()
        outcomes = self.sink.write(changes, deadline)
        self.observer.took(self.name, self.clock() - began)
        counts = Counter(type(outcome).__name__.lower() for outcome in outcomes if not isinstance(outcome, Deferred))
        if counts:
            self.observer.wrote(self.name, counts)
        deferred = [one for one in outcomes if isinstance(one, Deferred) and one.tried]
        if deferred:
            self.observer.deferred(self.name, len(deferred))
        for reason in {reason_of(one.cause) for one in deferred}:
            self.observer.retried(self.name, reason)
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        """As the sink's."""
        began = self.clock()
        try:
            self.sink.flush(deadline)
        except SinkUnavailable as error:
            self.observer.retried(self.name, reason_of(error.message))
            raise
        self.observer.flushed(self.name, self.clock() - began)
