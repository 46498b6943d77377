"""Deadline: how long work may go on, shared by all its steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

__all__ = [
    "Clock",
    "Deadline",
]

Clock = Callable[[], float]


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time on a monotonic clock, and a condition under which work is still wanted.

    `wanted` is asked before every attempt: a consumer answers whether it still holds the lease and was not
    asked to stop.
    """

    at: float
    clock: Clock = time.monotonic
    wanted: Callable[[], bool] = _always

    @classmethod
    def after(cls, seconds: float, *, clock: Clock = time.monotonic, wanted: Callable[[], bool] = _always) -> Deadline:
        """A deadline `seconds` from now."""
        return cls(clock() + seconds, clock, wanted)

    @property
    def remaining_seconds(self) -> float:
        """Seconds left, never negative; 0 as soon as the work is not wanted any more."""
        return max(0.0, self.at - self.clock()) if self.wanted() else 0.0

    def earlier(self, seconds: float) -> Deadline:
        """A deadline before this one, so that `seconds` stay for what has to be done after it."""
        return replace(self, at=self.at - seconds)

    @property
    def expired(self) -> bool:
        """Is it time to stop?"""
        return self.remaining_seconds <= 0.0
