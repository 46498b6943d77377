"""Breaker(sink): rejections in masses hold the shard, for good records must not be poured into the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.outcome import Deferred, Outcome, Rejected, Skipped
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["Breaker"]

log = logging.getLogger(__name__)

_WAIT_SECONDS = 5.0


@dataclass(slots=True)
class _Run:
    """Items of a stream whose changes were rejected for one cause, one after the other."""

    cause: str = ""
    items: set[str] = field(default_factory=set)
    said: bool = False

    def add(self, cause: str, item: str, enough: int) -> int:
        if cause != self.cause:
            self.end()
            self.cause = cause
        if len(self.items) < enough:
            self.items.add(item)
        return len(self.items)

    def end(self) -> None:
        self.cause, self.said = "", False
        self.items.clear()


class Breaker(SinkWrapper):
    """Defers rejections once `in_a_row` items of a stream, one after the other, were rejected for one cause: someone
    changed an index, and the records are good.

    It counts items, not changes: one bad item that is written all the time, or tried again and again, is no mass. And
    it counts so many that a kind of items among others, such as sixty with one odd attribute, is none either. A change
    that is deferred so is tried again as long as the cause stays; one that is accepted ends it. Changes that no mapping
    asks for count neither way.
    """

    def __init__(self, sink: Sink, in_a_row: int = 100) -> None:
        super().__init__(sink)
        self._in_a_row = in_a_row
        self._runs: dict[tuple[str, str], _Run] = {}

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write; defer rejections in masses."""
        outcomes = self.sink.write(changes, deadline)
        if not self._runs and not any(isinstance(outcome, Rejected) for outcome in outcomes):
            return outcomes
        return [self._passed(change, outcome) for change, outcome in zip(changes, outcomes, strict=True)]

    def _passed(self, change: Change, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Skipped | Deferred):
            return outcome
        origin = change.stream.arn, change.table
        if not isinstance(outcome, Rejected):
            if origin in self._runs:
                self._runs[origin].end()
            return outcome
        run = self._runs.setdefault(origin, _Run())
        if run.add(_word(outcome), change.identity.digest, self._in_a_row) >= self._in_a_row:
            return self._held(run, outcome)
        return outcome

    def _held(self, run: _Run, rejected: Rejected) -> Deferred:
        index = rejected.document.partition("/")[0]
        facts = [f"{len(run.items)} items in a row", index and f"index {index}", rejected.problem]
        shown = f"`cdc dead-letters list --document {index}`" if index else "`cdc dead-letters list`"
        summary = f"rejected in masses, {', '.join(filter(None, facts))}; {shown} has those that came first"
        if not run.said:
            run.said = True
            log.error(
                "%s: %s: %s. The shard is held until that is mended; on_mass_reject dead_letter would keep them all as "
                "dead letters",
                self.name,
                summary,
                rejected.cause,
            )
        return Deferred(rejected.cause.under(CauseKind.REJECTED_IN_MASSES, summary), _WAIT_SECONDS)


def _word(rejected: Rejected) -> str:
    return rejected.cause.code or rejected.cause.text
