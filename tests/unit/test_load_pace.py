"""The pace of a load: read units a second, less while the table throttles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.loads.pace import Pace
from cdc.testing import SimulatedClock


def read(pace: Pace, clock: SimulatedClock, pages: list[float]) -> float:
    """Read pages that cost so many units; the seconds that it took."""
    began = clock()
    for units in pages:
        pace.wait()
        pace.spent(units)
    pace.wait()
    return clock() - began


@given(st.lists(st.floats(0.5, 200), min_size=1, max_size=50), st.floats(1, 1000))
def test_the_limit_is_kept_whatever_a_page_costs(pages: list[float], limit: float) -> None:
    clock = SimulatedClock()
    seconds = read(Pace(limit, clock=clock, sleep=clock.sleep), clock, pages)
    assert seconds == pytest.approx(sum(pages) / limit, rel=0.01, abs=0.01)


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
