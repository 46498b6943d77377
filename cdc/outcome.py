"""Outcomes: what became of a change, and how far a batch is settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from cdc.causes import Cause, CauseKind

if TYPE_CHECKING:
    from cdc.records.sequence import SequenceNumber

__all__ = [
    "Applied",
    "Deferred",
    "Outcome",
    "Progress",
    "Rejected",
    "Skipped",
    "Superseded",
    "leading_settled",
    "settled",
    "worst",
]


@dataclass(frozen=True, slots=True)
class Applied:
    """Written."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The sink holds a newer state, or this very one already.

    `explained`: it is known why: a newer change of the same batch was written, or the item is gone by now. Else the
    sink itself refused it, which only replays and second writers explain.
    """

    explained: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing asks for it: no mapping takes the item, or the mapping says that this change does not count."""

    cause: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """May succeed later: not before `wait_seconds`."""

    cause: Cause
    wait_seconds: float = 0.0

    @classmethod
    def untried(cls, text: str, wait_seconds: float = 0.0) -> Deferred:
        """The sink was not asked: a change before it is deferred, or the time was up."""
        return cls(Cause(text, CauseKind.NOT_TRIED), wait_seconds)

    @property
    def tried(self) -> bool:
        """Was the sink asked?"""
        return self.cause.kind is not CauseKind.NOT_TRIED


@dataclass(frozen=True, slots=True)
class Rejected:
    """Never will succeed.

    `detail` may quote values and goes into the dead letter only; `problem` quotes none: it names field and types
    that do not fit, where the answer tells them. `kept` is true once the dead letter is stored: only then is the change
    settled. `document` is the index and id it was meant for, `mapping` the mapping file that asked for it.
    """

    cause: Cause
    detail: str = ""
    document: str = ""
    mapping: str = ""
    problem: str = ""
    kept: bool = False
    others: tuple[Rejected, ...] = ()
    """Further documents that the same change was rejected for; each has a dead letter of its own."""


Outcome = Applied | Superseded | Skipped | Deferred | Rejected

_SEVERITY: dict[type[Outcome], int] = {Skipped: 0, Superseded: 1, Applied: 2, Rejected: 3, Deferred: 4}


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a change that became several operations: Deferred, then Rejected, Applied, Superseded, Skipped.

    A rejection that is not kept yet goes before one that is. Of none at all: Skipped.
    """
    if len(outcomes) == 1:
        return outcomes[0]
    return max(outcomes, key=_rank, default=Skipped("no document takes it"))


def _rank(outcome: Outcome) -> tuple[int, bool]:
    return _SEVERITY[type(outcome)], isinstance(outcome, Rejected) and not outcome.kept


def settled(outcome: Outcome) -> bool:
    """May it be acknowledged? Applied, superseded, skipped, or rejected and kept."""
    match outcome:
        case Deferred():
            return False
        case Rejected():
            return outcome.kept
        case Applied() | Superseded() | Skipped():
            return True
        case _:
            assert_never(outcome)


def leading_settled(outcomes: Sequence[Outcome]) -> int:
    """How many changes at the front are settled: what may be acknowledged, whatever lies behind them."""
    return next((position for position, outcome in enumerate(outcomes) if not settled(outcome)), len(outcomes))


@dataclass(frozen=True, slots=True)
class Progress:
    """The leading records of a batch that are settled, and where to resume: `None` when all are."""

    settled: int
    resume_at: SequenceNumber | None
