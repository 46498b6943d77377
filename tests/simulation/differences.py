"""Differences between a table and its indices as they come and go: the truth that a verification is held to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Differences", "Place"]

Place = tuple[str, str]
"""An index and the id of a document."""


class Differences:
    """Which documents differ, and for how long each did without a break, since this began to look."""

    def __init__(
        self,
        clock: Callable[[], float],
        wanted: Callable[[], Mapping[Place, Any]],
        found: Callable[[], Mapping[Place, Any]],
    ) -> None:
        self._clock = clock
        self._wanted = wanted
        self._found = found
        self._since: dict[Place, float] = {}
        self._longest: dict[Place, float] = {}
        self.look()

    def look(self) -> None:
        """Something was written: look again."""
        wanted, found, now = self._wanted(), self._found(), self._clock()
        differ = {place for place in wanted.keys() | found.keys() if wanted.get(place) != found.get(place)}
        for place in [place for place in self._since if place not in differ]:
            lasted = now - self._since.pop(place)
            self._longest[place] = max(lasted, self._longest.get(place, 0.0))
        for place in differ:
            self._since.setdefault(place, now)

    @property
    def longest_seconds(self) -> float:
        """The longest time for which any document differed; below 0 if none did."""
        self.look()
        lasted = (self.lasted_seconds(place) for place in {*self._since, *self._longest})
        return max((seconds for seconds in lasted if seconds is not None), default=-1.0)

    def lasted_seconds(self, place: Place) -> float | None:
        """The longest time for which a document differed without a break; None: it never did."""
        lasted = [self._longest[place]] if place in self._longest else []
        if place in self._since:
            lasted.append(self._clock() - self._since[place])
        return max(lasted, default=None)
