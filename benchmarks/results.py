"""Tables of a benchmark's figures, and how far its goals are reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

__all__ = ["CannotRun", "Figure", "Goal", "Result", "Row", "Spread", "Verdict"]

_NEAR = 0.8
"""A goal is near from this share of it on."""
_FAR = 0.5
"""Below this share of a goal something is broken: a warning."""

Verdict = Literal["met", "near", "missed"]


class CannotRun(Exception):
    """A case can't run on this machine; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of repeated measurements, and the quartiles below and above it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of these values: at least one."""
        known = sorted(values)
        if len(known) == 1:
            return cls(known[0], known[0], known[0])
        low, _, high = quantiles(known, n=4, method="inclusive")
        return cls(median(known), low, high)


Figure = float | str | Spread


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: a contender, or a step. `figures` by column; a column's name says its unit."""

    name: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to reach: at `least` so much, or at `most`; exactly one of them is given."""

    text: str
    """Such as "order, parsed event: ≥ 5 × boto3 + json"."""
    measured: float
    least: float | None = None
    most: float | None = None

    @property
    def share(self) -> float:
        """How much of the goal is reached: 1 and more is met."""
        if self.least is not None:
            return self.measured / self.least
        if self.most is None:
            raise ValueError(f"the goal {self.text!r} has no bound")
        return self.most / self.measured if self.measured else float("inf")

    @property
    def verdict(self) -> Verdict:
        """Is it met, near (at least 80 % of it) or missed?"""
        return "met" if self.share >= 1 else "near" if self.share >= _NEAR else "missed"

    @property
    def is_far(self) -> bool:
        """Is less than half of it reached?"""
        return self.share < _FAR


@dataclass(frozen=True, slots=True)
class Result:
    """One table of a case, the goals it decides, and what a reader must know of it."""

    title: str
    rows: Sequence[Row]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
