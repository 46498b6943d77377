"""The pace of a load: read units a second, less while the table throttles."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.loads.pace import Pace
from cdc.testing import SimulatedClock

PAGE = 128.0
"""The units of a page of 1 MB."""


def read(pace: Pace, clock: SimulatedClock, pages: list[float], write_seconds: float = 0.0) -> float:
    """Read pages that cost so many units, one after the other; the seconds until the last is read."""
    began = clock()
    for number, units in enumerate(pages):
        if number:
            clock.sleep(write_seconds)
        pace.wait()
        pace.spent(units)
    return clock() - began


class TakingTurns:
    """Threads in simulated time: one runs at a time, and when it sleeps it is the turn of who wakes up first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asleep: list[tuple[float, int, Event]] = []
        self._turns = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        mine = self._will_wake(seconds)
        self._next()
        mine.wait()

    def run(self, works: list[Callable[[], None]]) -> None:
        threads = [self._thread(work) for work in works]
        self._next()
        for thread in threads:
            thread.join()

    def _thread(self, work: Callable[[], None]) -> Thread:
        mine = self._will_wake(0)

        def run() -> None:
            mine.wait()
            try:
                work()
            finally:
                self._next()

        thread = Thread(target=run)
        thread.start()
        return thread

    def _will_wake(self, seconds: float) -> Event:
        mine = Event()
        self._turns += 1
        heappush(self._asleep, (self.now + seconds, self._turns, mine))
        return mine

    def _next(self) -> None:
        if self._asleep:
            self.now, _, following = heappop(self._asleep)
            following.set()


@given(
    st.lists(st.floats(0.5, 128), min_size=1, max_size=60),
    st.floats(5, 1000),
    st.integers(1, 4),
    st.floats(0, 0.5),
)
def test_however_many_read_and_whatever_pages_cost_the_limit_is_kept(
    pages: list[float], limit: float, readers: int, share: float
) -> None:
    """Never more than a page too much is read, and in the end not a page too little: of many pages a few in a hundred.

    A read takes a share of the time that the limit gives it; slower readers would stay below it.
    """
    clock = TakingTurns()
    pace = Pace(limit, clock=clock, sleep=clock.sleep)
    left, over = iter(pages), []
    used = 0.0

    def reader() -> None:
        nonlocal used
        for units in left:
            pace.wait()
            clock.sleep(share * min(pages) / limit)
            pace.spent(units)
            used += units
            over.append(used - limit * clock())

    clock.run([reader] * readers)
    assert used == pytest.approx(sum(pages))
    assert max(over) <= max(pages) + 0.001
    assert over[-1] >= -PAGE - 0.06 * limit * readers  # who waits for the answer of another looks 20 times a second


@pytest.mark.parametrize("write_seconds", [0.0, 0.5, 1.2])
def test_the_time_of_writing_is_no_time_lost(write_seconds: float) -> None:
    clock = SimulatedClock()
    pages = [128.0] * 50
    seconds = read(Pace(100, clock=clock, sleep=clock.sleep), clock, pages, write_seconds)
    assert seconds == pytest.approx((sum(pages) - PAGE / 2) / 100)


def test_what_was_left_unused_is_no_reason_to_read_many_pages_at_once() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    read(pace, clock, [100.0] * 3)
    clock.sleep(3600)
    assert read(pace, clock, [100.0] * 5) == pytest.approx(2.5)


def test_a_read_that_failed_is_not_paid_twice() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    read(pace, clock, [PAGE])
    began = clock()
    for _ in range(5):
        pace.wait()
    pace.spent(PAGE)
    assert clock() - began == pytest.approx(1.28)


def test_threads_that_read_at_once_do_not_begin_with_a_page_each() -> None:
    clock = TakingTurns()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    answered: list[float] = []

    def reader() -> None:
        pace.wait()
        clock.sleep(0.2)
        pace.spent(PAGE)
        answered.append(clock())

    clock.run([reader] * 4)
    assert answered == pytest.approx([0.84, 2.12, 3.4, 4.68], abs=0.1)


@pytest.mark.parametrize("readers", [1, 4])
def test_large_and_small_pages_in_turn_are_read_within_five_percent(readers: int) -> None:
    clock = TakingTurns()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    left = iter([PAGE, 14.0] * 16)

    def reader() -> None:
        for units in left:
            pace.wait()
            clock.sleep(0.1)
            pace.spent(units)

    clock.run([reader] * readers)
    assert 142 * 16 / clock() == pytest.approx(100, rel=0.03)


def test_without_a_limit_nothing_waits() -> None:
    clock = SimulatedClock()
    assert read(Pace(clock=clock, sleep=clock.sleep), clock, [128.0] * 50) == 0


def test_a_table_that_throttles_is_read_at_half_the_rate_and_then_faster_again() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    read(pace, clock, [100.0] * 3)
    pace.throttled()
    assert pace.limit == pytest.approx(50)
    read(pace, clock, [10.0] * 40)
    assert pace.limit is not None
    assert 50 < pace.limit <= 100


def test_the_rate_never_grows_above_the_limit() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    pace.throttled()
    clock.sleep(3600)
    pace.spent(1)
    assert pace.limit == 100


def test_throttled_for_ever_it_still_reads() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        pace.throttled()
    assert pace.limit == 1
