"""The soak's verdict: what grows is said to grow."""

from __future__ import annotations

import pytest

from local.soak_trend import Sample, trend_of


def samples(*rss: float) -> list[Sample]:
    return [Sample(5.0 * number, value, 90, 40, 60) for number, value in enumerate(rss)]


def test_a_leak_is_growing() -> None:
    leak = trend_of(samples(*(200 + 2 * number for number in range(60))), lambda sample: sample.rss_mb)
    assert not leak.is_flat
    assert leak.an_hour == pytest.approx(2 * 720)
    assert "GROWING" in str(leak)


def test_a_heap_that_breathes_after_a_warm_up_is_flat() -> None:
    breathing = [100 + 5 * number for number in range(30)] + [250 + 10 * (number % 3) for number in range(30)]
    assert trend_of(samples(*breathing), lambda sample: sample.rss_mb).is_flat


def test_buffers_that_fill_and_empty_above_a_steady_floor_are_flat() -> None:
    sawtooth = [250 + 0.2 * number + 3 * (number % 12) for number in range(120)]
    assert not trend_of(samples(*sawtooth), lambda sample: sample.rss_mb).is_flat
    steady = [250 + (3 + number / 40) * (number % 12) for number in range(120)]
    assert trend_of(samples(*steady), lambda sample: sample.rss_mb).is_flat


def test_what_shrinks_is_flat() -> None:
    assert trend_of(samples(400, 390, 380, 370, 360, 350), lambda sample: sample.rss_mb).is_flat


def test_a_few_samples_show_no_trend() -> None:
    with pytest.raises(ValueError, match="3 samples"):
        trend_of(samples(1, 2, 3), lambda sample: sample.rss_mb)
