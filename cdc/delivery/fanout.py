"""Fanout: several sinks as one, the archive last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.deadline import Deadline
from cdc.outcome import Applied, Deferred, Outcome, leading_settled, worst
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["Fanout"]

_NOT_ARCHIVED = Deferred.untried("a change before it is not settled: the archive takes the settled ones only")


@dataclass(frozen=True)
class Fanout:
    """Writes `sinks` in their order; then the archive takes the prefix that all of them settled."""

    sinks: tuple[Sink, ...]
    archive: Sink | None = None
    name: str = "fanout"

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """The worst outcome of each change."""
        columns = [sink.write(changes, deadline) for sink in self.sinks]
        outcomes = _worst_of(columns)
        if self.archive is None:
            return outcomes
        count = leading_settled(outcomes) if columns else len(changes)
        archived = [*self.archive.write(changes[:count], deadline), *[_NOT_ARCHIVED] * (len(changes) - count)]
        return _worst_of([outcomes, archived] if columns else [archived])

    def flush(self, deadline: Deadline) -> None:
        """Flush every sink; the first that can't raises."""
        for sink in self._all():
            sink.flush(deadline)

    def close(self) -> None:
        """Close every sink, the archive first."""
        for sink in reversed(self._all()):
            sink.close()

    def _all(self) -> tuple[Sink, ...]:
        return (*self.sinks, *((self.archive,) if self.archive else ()))


def _worst_of(columns: Sequence[Sequence[Outcome]]) -> Sequence[Outcome]:
    """The worst outcome of each change, of those that the sinks gave it."""
    if len(columns) == 1:
        return columns[0]
    if all(type(outcome) is Applied for column in columns for outcome in column):
        return columns[0]
    return [worst(row) for row in zip(*columns, strict=True)]
