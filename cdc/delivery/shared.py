"""SharedSink(sink): one sink for all shards of a process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import RLock

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.outcome import Outcome
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["SharedSink"]


class SharedSink(SinkWrapper):
    """Lets several pipelines use one sink: one call at a time, and closed by its owner only.

    A shard's pipeline is closed when the shard goes to another worker, a Lambda's after each invocation; the sink
    stays open until its process ends.
    """

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._lock = RLock()

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write, once no other pipeline does."""
        with self._lock:
            return self.sink.write(changes, deadline)

    def flush(self, deadline: Deadline) -> None:
        """Flush, once no other pipeline does."""
        with self._lock:
            self.sink.flush(deadline)

    def close(self) -> None:
        """Leave the sink open: its owner closes it."""
