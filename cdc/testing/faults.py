"""Faults drawn from a seed: the same seed, the same faults at the same calls."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

__all__ = ["Always", "Faults", "Killed"]


class Killed(BaseException):
    """The process dies here: nothing in it may catch this and go on."""


class Faults:
    """Decides at each call of a simulated server whether it fails, and how; counts what it has decided.

    `rate`: the share of calls that fail while faults are on.
    """

    def __init__(self, seed: int, rate: float = 0.0) -> None:
        self.counts: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311  (not a secret)
        self._rate = rate
        self._off = False

    def off(self) -> None:
        """No more faults: what is left must come to its end."""
        self._off = True

    def draw(self, place: str, kinds: Mapping[str, float]) -> str | None:
        """One of `kinds`, by weight, or None: no fault. Counted as `place: kind`."""
        if self._off or not kinds or self._chance.random() >= self._rate:
            return None
        kind = self._chance.choices(list(kinds), list(kinds.values()))[0]
        self.counts[f"{place}: {kind}"] += 1
        return kind

    def chance(self, probability: float) -> bool:
        """Does something of this probability happen? Never once faults are off."""
        return not self._off and self._chance.random() < probability

    def pick(self, low: int, high: int) -> int:
        """A number from `low` to `high`, both included."""
        return self._chance.randint(low, high)


class Always(Faults):
    """Fails in one way, at each call that can fail in it: for a test of that failure."""

    def __init__(self, kind: str) -> None:
        super().__init__(seed=0)
        self._kind = kind

    def draw(self, place: str, kinds: Mapping[str, float]) -> str | None:
        """That kind, if it is among `kinds`. Counted as `place: kind`."""
        if self._off or self._kind not in kinds:
            return None
        self.counts[f"{place}: {self._kind}"] += 1
        return self._kind
