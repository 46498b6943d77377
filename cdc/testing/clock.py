"""A clock that is advanced, never slept on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["SimulatedClock"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SimulatedClock:
    """Seconds since 1970, as wall clock and as monotonic clock: it never runs backwards.

    What is due at a time (`at`) happens while the clock passes it, in order.
    """

    def __init__(self, start: float = 1_768_469_400.0) -> None:
        self._now = start
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def __call__(self) -> float:
        """The time now, in seconds."""
        return self._now

    @property
    def micros(self) -> int:
        """The time now, in microseconds."""
        return round(self._now * 1_000_000)

    def utc(self) -> datetime:
        """The time now."""
        return _EPOCH + timedelta(microseconds=self.micros)

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Call `act` when the clock reaches `moment`; at once if it has."""
        if moment <= self._now:
            act()
            return
        self._due.append((moment, len(self._due), act))
        self._due.sort(key=lambda entry: entry[:2])

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        until = self._now + max(0.0, seconds)
        while self._due and self._due[0][0] <= until:
            moment, _, act = self._due.pop(0)
            self._now = max(self._now, moment)
            act()
        self._now = max(self._now, until)
