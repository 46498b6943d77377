"""The base class of sinks around a sink."""

from __future__ import annotations

from collections.abc import Sequence

from cdc.deadline import Deadline
from cdc.outcome import Outcome
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["SinkWrapper"]


class SinkWrapper:
    """A sink around `sink`: forwards `name`, `write`, `flush` and `close`."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    @property
    def name(self) -> str:
        """The sink's own."""
        return self.sink.name

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write to the sink."""
        return self.sink.write(changes, deadline)

    def flush(self, deadline: Deadline) -> None:
        """Flush the sink."""
        self.sink.flush(deadline)

    def close(self) -> None:
        """Close the sink."""
        self.sink.close()
