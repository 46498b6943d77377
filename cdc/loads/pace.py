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


class Pace:
    """A token bucket that is paid before the read, by what the last one has cost; the rest, when the answer tells it.

    Since the beginning never more has been read than the limit allows, but for what a page costs more than the one
    before it; what was left unused adds up to a page, or two seconds, no more. Without a limit nothing waits until the
    table throttles. Then the rate is half of what was reached, and grows again (additive increase, multiplicative
    decrease). Shared by the threads of a load.
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
        self._largest = 0.0
        self._paid = local()

    @property
    def limit(self) -> float | None:
        """Read units a second that are allowed now; None: no limit."""
        return self._rate

    def wait(self, wanted: Callable[[], bool] = lambda: True) -> None:
        """Return when the next read of this thread is paid for, or nobody wants it any more."""
        while wanted():
            with self._lock:
                left = self._pay()
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
            paid, self._paid.units = self._paid.__dict__.get("units", 0.0), 0.0
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
        """Pay for the next read; where it is too early, the seconds until it can be paid. What a read that failed was
        to cost is still paid."""
        if self._rate is None or self._paid.__dict__.get("units"):
            return 0.0
        now, units = self._clock(), self._expected()
        unused = max(_UNUSED_SECONDS, units / self._rate, self._largest / self._rate)
        free_at = max(self._free_at, now - unused) + units / self._rate
        if free_at > now:
            return free_at - now
        self._free_at, self._paid.units = free_at, units
        return 0.0

    def _expected(self) -> float:
        """The first page's cost is not known: it is paid with a second's units at most, and the rest after it."""
        return min(_PAGE_UNITS, self._rate or _PAGE_UNITS) if self._last is None else self._last

    def _grow(self, now: float) -> None:
        if self._rate is None or self._rate == self._max:
            return
        seconds, self._grown_at = now - self._grown_at, now
        grown = self._rate * (1 + _STEP * seconds)
        self._rate = grown if self._max is None else min(self._max, grown)
