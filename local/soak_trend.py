"""Trends of a soak: what a process used, sampled, and whether it grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import linear_regression, mean

__all__ = ["FLAT_SHARE", "Sample", "Trend", "trend_of"]

FLAT_SHARE = 0.02
"""How much of its mean the floor of a figure may grow by over the second half and still be flat."""
_WINDOWS = 5
"""The second half is cut into so many; the lowest of each is the floor: buffers breathe above it, a leak lifts it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment."""

    seconds: float
    rss_mb: float
    heap_mb: float
    threads: int
    files: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over a soak; `grown` is what a straight line through the floor of the second half says it grew by
    there."""

    first: float
    middle: float
    last: float
    highest: float
    mean: float
    grown: float
    an_hour: float
    is_flat: bool

    def __str__(self) -> str:
        return f"{'flat' if self.is_flat else 'GROWING'} ({self.grown:+.1f}, which is {self.an_hour:+.1f} an hour)"


def trend_of(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> Trend:
    """The trend of one figure; the first half is warm-up.

    Raises:
        ValueError: there are less than four samples.
    """
    if len(samples) < 4:
        raise ValueError(f"{len(samples)} samples show no trend")
    half = samples[len(samples) // 2 :]
    values = [float(figure(sample)) for sample in samples]
    seen = values[len(samples) // 2 :]
    floor = _floor(half, figure)
    slope = linear_regression([sample.seconds for sample in floor], [float(figure(sample)) for sample in floor]).slope
    grown = slope * (half[-1].seconds - half[0].seconds)
    return Trend(
        first=values[0],
        middle=seen[0],
        last=values[-1],
        highest=max(values),
        mean=round(mean(seen), 1),
        grown=round(grown, 2),
        an_hour=round(slope * 3600, 1),
        is_flat=grown <= FLAT_SHARE * mean(seen),
    )


def _floor(samples: Sequence[Sample], figure: Callable[[Sample], float]) -> list[Sample]:
    count = min(_WINDOWS, len(samples))
    edges = [len(samples) * number // count for number in range(count + 1)]
    return [min(samples[begin:end], key=figure) for begin, end in pairwise(edges)]
