"""Observed(sink): reports a sink's outcomes and times to the observer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from cdc.deadline import Clock, Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkUnavailable
from cdc.observer import Flushed, LeftForLater, Observer, Retried, WriteTimed, Wrote
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["Observed"]


class Observed(SinkWrapper):
    """Reports every outcome to the observer. Each deferral reason counts as one retry, since the caller will write
    those changes again; a change that was not tried counts as none.
    """

    def __init__(self, sink: Sink, observer: Observer, clock: Clock = time.monotonic) -> None:
        super().__init__(sink)
        self._observer = observer
        self._clock = clock

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write, and report."""
        began = self._clock()
        outcomes = self.sink.write(changes, deadline)
        self._observer(WriteTimed(self.name, self._clock() - began))
        counts = Counter(type(outcome).__name__.lower() for outcome in outcomes if not isinstance(outcome, Deferred))
        if counts:
            self._observer(Wrote(self.name, counts))
        deferred = [one for one in outcomes if isinstance(one, Deferred) and one.tried]
        if deferred:
            self._observer(LeftForLater(self.name, len(deferred)))
        for reason in {one.cause.label for one in deferred}:
            self._observer(Retried(self.name, reason))
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        """Flush, and report."""
        began = self._clock()
        try:
            self.sink.flush(deadline)
        except SinkUnavailable as error:
            self._observer(Retried(self.name, error.cause.label))
            raise
        self._observer(Flushed(self.name, self._clock() - began))
