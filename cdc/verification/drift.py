"""Drift: the share of documents that differ, from a sample, with how far it may be above what was seen."""

from __future__ import annotations

from math import exp, lgamma, log, log1p

import msgspec

__all__ = ["CONFIDENCE", "Drift", "drift"]

CONFIDENCE = 0.95
"""How sure the upper bound is."""
_MILLION = 1_000_000.0
_HALVINGS = 60
_NEGLIGIBLE = 1e-17


class Drift(msgspec.Struct, frozen=True):
    """Documents that differ, in parts per million."""

    ppm: float
    """Those that were seen; 0 where nothing was checked."""
    upper_ppm: float
    """With a confidence of 95 % there are no more: a million where nothing was checked."""

    def __str__(self) -> str:
        return f"drift {self.ppm:,.0f} ppm (95 % sure: below {self.upper_ppm:,.0f})"


def drift(checked: int, differences: int) -> Drift:
    """The drift that a sample shows.

    The bound is 3/n where none of n differs, else the exact one (Clopper and Pearson, "The use of confidence or
    fiducial limits", 1934). Both take the sample's members as independent: differences that lie beside each other make
    it rougher.

    Raises:
        ValueError: there are fewer checked than differences, or fewer than none.
    """
    if not 0 <= differences <= checked:
        raise ValueError(f"{differences} differences of {checked} checked")
    if checked == 0:
        return Drift(0.0, _MILLION)
    return Drift(_MILLION * differences / checked, _MILLION * _upper(checked, differences))


def _upper(checked: int, differences: int) -> float:
    if differences == 0:
        return min(1.0, 3 / checked)
    if differences == checked:
        return 1.0
    low, high = differences / checked, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(differences, checked, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(differences: int, checked: int, share: float) -> float:
    """How probable as few differences are, or fewer, where this share differs and more differ than were seen."""
    if not 0 < share < 1:
        return 0.0 if share else 1.0
    sum_, term = 0.0, 1.0  # in parts of the largest term, which is the last one
    for number in range(differences, -1, -1):
        sum_ += term
        if term < _NEGLIGIBLE * sum_:
            break
        term *= number / (checked - number + 1) * (1 - share) / share
    largest = _log_choose(checked, differences) + differences * log(share) + (checked - differences) * log1p(-share)
    return exp(largest) * sum_


def _log_choose(all_: int, some: int) -> float:
    return lgamma(all_ + 1) - lgamma(some + 1) - lgamma(all_ - some + 1)
