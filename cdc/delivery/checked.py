"""Checked(sink): a sink that returns something else than one outcome a change stops the process."""

from __future__ import annotations

from collections.abc import Sequence

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkMisconfigured
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped, Superseded
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["Checked", "checked"]

_OUTCOMES = (Applied, Superseded, Skipped, Deferred, Rejected)
_REMEDY = "`write` returns one outcome a change, in their order: Applied, Superseded, Skipped, Deferred or Rejected."


class Checked(SinkWrapper):
    """Checks every answer of a sink. A wrong one would acknowledge changes that nobody has written."""

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write.

        Raises:
            SinkMisconfigured: the sink did not return one outcome a change; nothing of the batch may be acknowledged.
        """
        return checked(self.sink, changes, self.sink.write(changes, deadline))


def checked(sink: Sink, changes: Sequence[Change], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The outcomes, if they are one a change.

    Raises:
        SinkMisconfigured: they are not; names the sink.
    """
    if not isinstance(outcomes, Sequence) or len(outcomes) != len(changes):
        count = f"{len(outcomes)} outcomes" if isinstance(outcomes, Sequence) else type(outcomes).__name__
        raise SinkMisconfigured(sink.name, f"it returned {count} for {len(changes)} changes", remedy=_REMEDY)
    for position, outcome in enumerate(outcomes):
        if not isinstance(outcome, _OUTCOMES):
            text = f"it returned {type(outcome).__name__} for change {position + 1} of {len(changes)}"
            raise SinkMisconfigured(sink.name, text, remedy=_REMEDY)
    return outcomes
