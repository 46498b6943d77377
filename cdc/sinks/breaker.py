"""Breaker(sink): rejections in masses hold the shard, for good records must not be poured into the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from cdc.change import Change
from cdc.deadline import Deadline
from cdc.outcome import Deferred, Outcome, Rejected, Skipped
from cdc.sinks.around import Around

__all__ = ["Breaker"]

log = logging.getLogger(__name__)

_WAIT_SECONDS = 5.0


@dataclass(slots=True)
class _Run:
    """Rejections for one cause, one after the other."""

    cause: str = ""
    length: int = 0
    said: bool = False

    def add(self, cause: str) -> int:
        if cause != self.cause:
            self.end()
            self.cause = cause
        self.length += 1
        return self.length

    def end(self) -> None:
        self.cause, self.length, self.said = "", 0, False


@dataclass(frozen=True)
class Breaker(Around):
    """A sink whose rejections are deferred when a whole batch of at least `batch`, or `in_a_row` changes one after the
    other, are rejected for one cause: someone changed an index, and the records are good.

    What is deferred so is tried again as long as the cause stays; one change that is accepted ends it. Changes that no
    mapping asks for count neither way.
    """

    batch: int = 20
    in_a_row: int = 100
    _run: _Run = field(default_factory=_Run, repr=False, compare=False)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's, but for rejections in masses."""
        outcomes = self.sink.write(changes, deadline)
        mass = _is_mass(outcomes, self.batch)
        return [self._passed(outcome, mass=mass) for outcome in outcomes]

    def _passed(self, outcome: Outcome, *, mass: bool) -> Outcome:
        match outcome:
            case Rejected():
                if self._run.add(outcome.cause) >= self.in_a_row or mass:
                    return self._held(outcome)
            case Skipped() | Deferred():
                pass
            case _:
                self._run.end()
        return outcome

    def _held(self, rejected: Rejected) -> Deferred:
        if not self._run.said:
            self._run.said = True
            log.error(
                "%s rejects one change after the other: %s. The shard is held until that is mended; "
                "CDC_ON_MASS_REJECT=dead_letter would keep them all as dead letters",
                self.name,
                rejected.cause,
            )
        return Deferred(f"rejected in masses: {rejected.cause}", _WAIT_SECONDS)


def _is_mass(outcomes: Sequence[Outcome], least: int) -> bool:
    asked = [outcome for outcome in outcomes if not isinstance(outcome, Skipped)]
    causes = {outcome.cause if isinstance(outcome, Rejected) else None for outcome in asked}
    return len(asked) >= least and len(causes) == 1 and None not in causes
