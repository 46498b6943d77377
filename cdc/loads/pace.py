"""Pace: how many read units a second a load may use, less while the table throttles it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock, local

from cdc.deadline import Clock

__all__ = ["Pace"]

_STEP = 0.05
"""The share of the present rate that is added back for each second without throttling."""
_LEAST_UNITS = 1.0
_UNUSED_SECONDS = 2.0
_PAGE_UNITS = 128.0
"""A page of 1 MB, read eventually consistent (Amazon DynamoDB Developer Guide, "Scanning tables")."""
_LONGEST_SLEEP = 1.0
_SLEEP_WHILE_OTHERS_READ = 0.05
"""Their answers give back what they had reserved: the next read may begin sooner than it seems."""


class Pace:
    """A token bucket: a read begins with half a page paid, and pays the rest when its cost is known; until then as much
    as a page can cost is reserved.

    So since the beginning never more was read than the limit allows and one page, however many threads share the pace;
    the half makes it as often too little as too much. It stays below the limit where reads are slow, or nobody reads:
    what was left unused adds up to two seconds, or two pages. Without a limit nothing waits until the table throttles.
    Then the rate is half of what was reached, and grows again (additive increase, multiplicative decrease).
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
        self._largest = 0.0
        self._reserved = 0.0
        self._mine = local()

    @property
    def limit(self) -> float | None:
        """Read units a second that are allowed now; None: no limit."""
        return self._rate

    def wait(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Return when this thread may read once, or nobody wants it any more. A read that failed may be repeated."""
        with self._lock:
            self._forget_unused()
        while wanted():
            with self._lock:
                left = self._left()
                longest = _SLEEP_WHILE_OTHERS_READ if self._reserved else _LONGEST_SLEEP
            if left <= 0:
                return
            self._sleep(min(left, longest))

    def spent(self, units: float) -> None:
        """Pay what the read of this thread has cost."""
        with self._lock:
            self._used += units
            self._largest = max(self._largest, units)
            self._grow(self._clock())
            self._reserved -= self._of_this_thread
            self._mine.units = 0.0
            if self._rate is not None:
                self._free_at += units / self._rate

    def throttled(self) -> None:
        """The table refused a read: go on with half the rate."""
        with self._lock:
            now = self._clock()
            reached = self._rate if self._rate is not None else self._used / max(1.0, now - self._began)
            self._rate = max(_LEAST_UNITS, reached / 2)
            self._grown_at = now

    def _left(self) -> float:
        """The seconds until this thread may read; where there are none, a page is reserved for it."""
        if self._rate is None or self._of_this_thread:
            return 0.0
        ahead = min((self._largest or _PAGE_UNITS) / 2, self._rate)
        left = self._free_at + (self._reserved + ahead) / self._rate - self._clock()
        if left <= 0:
            self._mine.units = max(_PAGE_UNITS, self._largest)
            self._reserved += self._mine.units
        return left

    @property
    def _of_this_thread(self) -> float:
        """The units that are reserved for this thread's read."""
        units: float = getattr(self._mine, "units", 0.0)
        return units

    def _forget_unused(self) -> None:
        if self._rate is not None:
            most = max(_UNUSED_SECONDS * self._rate, 2 * self._largest) + self._reserved
            self._free_at = max(self._free_at, self._clock() - most / self._rate)

    def _grow(self, now: float) -> None:
        if self._rate is None or self._rate == self._max:
            return
        seconds, self._grown_at = now - self._grown_at, now
        grown = self._rate * (1 + _STEP * seconds)
        self._rate = grown if self._max is None else min(self._max, grown)
