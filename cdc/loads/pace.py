"""Pace: how many read units a second a load may use, less while the table throttles it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from cdc.deadline import Clock

__all__ = ["Pace"]

_STEP = 0.05
"""The share of the present rate that is added back for each second without throttling."""
_LEAST_UNITS = 1.0


class Pace:
    """A token bucket that is paid after the read, since only the answer tells what it has cost.

    Without a limit nothing waits until the table throttles. Then the rate is half of what was reached, and grows again
    (additive increase, multiplicative decrease). Shared by the threads of a load.
    """

    def __init__(
        self,
        max_units: float | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            max_units: read units a second at most.
        """
        self._max = max_units
        self._rate = max_units
        self._clock = clock
        self._sleep = sleep
        self._lock = Lock()
        self._free_at = self._began = clock()
        self._grown_at = self._began
        self._used = 0.0

    @property
    def limit(self) -> float | None:
        """Read units a second that are allowed now; None: no limit."""
        return self._rate

    def wait(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Return when the reads before this one are paid for, or nobody wants it any more."""
        while wanted():
            with self._lock:
                left = self._free_at - self._clock()
            if left <= 0:
                return
            self._sleep(min(left, 1.0))

    def spent(self, units: float) -> None:
        """Pay for a read."""
        with self._lock:
            now = self._clock()
            self._used += units
            self._grow(now)
            if self._rate is not None:
                self._free_at = max(self._free_at, now) + units / self._rate

    def throttled(self) -> None:
        """The table refused a read: go on with half the rate."""
        with self._lock:
            now = self._clock()
            reached = self._rate if self._rate is not None else self._used / max(1.0, now - self._began)
            self._rate = max(_LEAST_UNITS, reached / 2)
            self._grown_at = now

    def _grow(self, now: float) -> None:
        if self._rate is None or self._rate == self._max:
            return
        seconds, self._grown_at = now - self._grown_at, now
        grown = self._rate * (1 + _STEP * seconds)
        self._rate = grown if self._max is None else min(self._max, grown)
