"""Drift: laws of the bound."""

from __future__ import annotations

from math import comb

from hypothesis import given
from hypothesis import strategies as st

from cdc.verification.drift import drift

SAMPLES = st.integers(4, 10**9).flatmap(
    lambda checked: st.tuples(st.just(checked), st.integers(0, min(checked, 10**4)))
)
"""Checked, and differences. Of fewer than four, three in n is all of them."""


@given(SAMPLES)
def test_the_bound_lies_above_what_was_seen_and_at_most_at_all(sample: tuple[int, int]) -> None:
    found = drift(*sample)
    assert 0 <= found.ppm <= found.upper_ppm <= 1_000_000


@given(SAMPLES)
def test_one_more_that_is_equal_lowers_the_bound_and_one_more_that_differs_raises_it(sample: tuple[int, int]) -> None:
    checked, differences = sample
    slack = 1 + 1e-6
    assert drift(checked + 1, differences).upper_ppm <= drift(checked, differences).upper_ppm * slack
    if differences < checked:
        assert drift(checked, differences + 1).upper_ppm * slack >= drift(checked, differences).upper_ppm


@given(st.integers(1, 200).flatmap(lambda checked: st.tuples(st.just(checked), st.integers(0, checked - 1))))
def test_were_the_bound_true_so_few_differences_would_be_seen_one_time_in_twenty(sample: tuple[int, int]) -> None:
    checked, differences = sample
    share = drift(checked, differences).upper_ppm / 1_000_000
    seen = sum(comb(checked, n) * share**n * (1 - share) ** (checked - n) for n in range(differences + 1))
    assert seen <= 0.05 + 1e-6
