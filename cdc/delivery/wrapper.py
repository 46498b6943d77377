"""Around(sink): what every sink that stands around another passes on."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.deadline import Deadline
from cdc.sinks import Sink

__all__ = ["Around"]


@dataclass(frozen=True)
class Around:
    """A sink around `sink`, which has its name. What a composite does not change is the sink's own."""

    sink: Sink

    @property
    def name(self) -> str:
        """The sink's own."""
        return self.sink.name

    def flush(self, deadline: Deadline) -> None:
        """As the sink's."""
        self.sink.flush(deadline)

    def close(self) -> None:
        """As the sink's."""
        self.sink.close()
