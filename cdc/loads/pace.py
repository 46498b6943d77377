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
_PAGE_UNITS = 128.0
"""A page of 1 MB, read eventually consistent (Amazon DynamoDB Developer Guide, "Scanning tables")."""


class Pace:
    """A token bucket that is paid before the read, by what the last one has cost; the rest, when the answer tells it.

    Since the beginning never more has been read than the limit allows, but for what a page costs more than the one
    before it; what was left unused adds up to one page, no more. Without a limit nothing waits until the table
    throttles. Then the rate is half of what was reached, and grows again (additive increase, multiplicative decrease).
    Shared by the threads of a load.
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
        self._last: float | None = None
        self._largest = min(_PAGE_UNITS, max_units or 0.0)
        self._paid = local()

    @property
    def limit(self) -> float | None:
        """Read units a second that are allowed now; None: no limit."""
        return self._rate

    def wait(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Return when the next read of this thread is paid for, or nobody wants it any more."""
        with self._lock:
            ready_at = self._pay()
        while wanted():
            left = ready_at - self._clock()
            if left <= 0:
                return
            self._sleep(min(left, 1.0))

    def spent(self, units: float) -> None:
        """Pay what a read of this thread has cost, less what was paid before it."""
        with self._lock:
            now = self._clock()
            self._used += units
            self._last = units
            self._largest = max(self._largest, units)
            self._grow(now)
            paid, self._paid.units = getattr(self._paid, "units", 0.0), 0.0
            if self._rate is not None:
                self._free_at += (units - paid) / self._rate

    def throttled(self) -> None:
        """The table refused a read: go on with half the rate."""
        with self._lock:
            now = self._clock()
            reached = self._rate if self._rate is not None else self._used / max(1.0, now - self._began)
            self._rate = max(_LEAST_UNITS, reached / 2)
            self._grown_at = now

    def _pay(self) -> float:
        """When the next read may begin. A read that failed has left paid what it was to cost: it is for this one."""
        if self._rate is None:
            return self._clock()
        paid, units = getattr(self._paid, "units", 0.0), self._expected()
        unused_since = self._clock() - max(units, self._largest) / self._rate
        self._free_at = max(self._free_at, unused_since) + (units - paid) / self._rate
        self._paid.units = units
        return self._free_at

    def _expected(self) -> float:
        """Of the first page nothing is known: it is paid with a second's units at most, and the rest after it."""
        return min(_PAGE_UNITS, self._rate or _PAGE_UNITS) if self._last is None else self._last

    def _grow(self, now: float) -> None:
        if self._rate is None or self._rate == self._max:
            return
        seconds, self._grown_at = now - self._grown_at, now
        grown = self._rate * (1 + _STEP * seconds)
        self._rate = grown if self._max is None else min(self._max, grown)
