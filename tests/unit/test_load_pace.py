"""The pace of a load: read units a second, less while the table throttles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.loads.pace import Pace
from cdc.testing import SimulatedClock


def read(pace: Pace, clock: SimulatedClock, pages: list[float], write_seconds: float = 0.0) -> float:
    """Read pages that cost so many units, one after the other; the seconds until the last is read."""
    began = clock()
    for number, units in enumerate(pages):
        if number:
            clock.sleep(write_seconds)
        pace.wait()
        pace.spent(units)
    return clock() - began


@given(st.lists(st.floats(0.5, 200), min_size=1, max_size=50), st.floats(1, 1000))
def test_the_limit_is_kept_whatever_a_page_costs(pages: list[float], limit: float) -> None:
    """A page is paid as if it cost what the one before it did; the first with a second's units."""
    clock = SimulatedClock()
    seconds = read(Pace(limit, clock=clock, sleep=clock.sleep), clock, pages)
    more_than_expected = max(0.0, pages[-1] - (pages[-2] if len(pages) > 1 else min(limit, 128)))
    assert (sum(pages) - more_than_expected) / limit <= seconds + 0.001
    assert seconds <= sum(pages) / limit + max(1.0, max(pages) / limit) + 0.001


@pytest.mark.parametrize("write_seconds", [0.0, 0.5, 1.2])
def test_the_time_of_writing_is_no_time_lost(write_seconds: float) -> None:
    clock = SimulatedClock()
    pages = [128.0] * 50
    seconds = read(Pace(100, clock=clock, sleep=clock.sleep), clock, pages, write_seconds)
    assert seconds == pytest.approx(sum(pages) / 100, rel=0.01)


def test_what_was_left_unused_is_no_reason_to_read_many_pages_at_once() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    read(pace, clock, [100.0] * 3)
    clock.sleep(3600)
    assert read(pace, clock, [100.0] * 5) == pytest.approx(3)


def test_a_read_that_failed_is_not_paid_twice() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    read(pace, clock, [100.0])
    began = clock()
    for _ in range(5):
        pace.wait()
    pace.spent(100.0)
    assert clock() - began == pytest.approx(1)


def test_threads_that_read_at_once_keep_the_limit_together() -> None:
    clock = SimulatedClock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    began = clock()
    threads = [ThreadPoolExecutor(1) for _ in range(4)]
    for units in (100.0, 50.0, 50.0, 150.0, 150.0):
        for thread in threads:
            thread.submit(pace.wait).result()
        for thread in threads:
            thread.submit(pace.spent, units).result()
    assert clock() - began == pytest.approx(20, rel=0.06)
    for thread in threads:
        thread.shutdown()


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
