"""Sinks: the `Sink` protocol, and a module for each destination: OpenSearch, the archive in S3, your functions.

Public: `Sink`, which `cdc` exports. The destinations are internal, made by the consumers from settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cdc.deadline import Deadline
    from cdc.outcome import Outcome
    from cdc.records.change import Change

__all__ = ["Sink"]


class Sink(Protocol):
    """A destination for changes: exactly one outcome a change, in the order given; safe to repeat.

    Its methods are called one at a time, though not always by the same thread. It is written to and flushed for as long
    as its process runs, and closed at the end of it.
    """

    @property
    def name(self) -> str:
        """Names the sink in logs, metrics and dead letters."""
        ...

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write changes of one shard, oldest first; return one outcome a change, in that order.

        Replaying a change, or one older than what is stored, leaves the destination as it was. Does not modify
        *changes*. A destination out of reach defers all of them; that is no exception.

        Raises:
            SinkMisconfigured: a retry cannot help; stop.
        """
        ...

    def flush(self, deadline: Deadline) -> None:
        """Return when all that was Applied is durable.

        Raises:
            SinkUnavailable: durability is unknown: acknowledge nothing since the last flush.
            SinkMisconfigured: a retry cannot help; stop.
        """
        ...

    def close(self) -> None:
        """Release connections; writes nothing. Called when the process ends, also after a failure, or twice."""
        ...
