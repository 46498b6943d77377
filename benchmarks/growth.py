"""Case 5, the cost of growth: twice the work costs at most twice as much."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.growing import DIMENSIONS, Dimension, Point
from benchmarks.results import Goal, Result, Row

__all__ = ["TITLE", "grown", "growth_of", "run", "slope"]

TITLE = "Cost of growth: CPU and memory as the work grows"

_LINEAR = 1.1
"""A slope of 1 is linear; what a noisy machine adds is allowed for."""
_FLAT = 0.1
"""A slope of 0 is flat."""
_MIB = 1024 * 1024
_BATCH_FACTOR = 20.0
"""The most memory that a byte of payload in work may cost: both images parsed, the document, the request."""


def run(quick: bool) -> Iterator[Result]:
    """A table for each dimension, each of its points measured in a process of its own."""
    for name, dimension in DIMENSIONS.items():
        yield growth_of(dimension, *grown("benchmarks.growing", name, dimension, quick=quick))


def grown(module: str, name: str, dimension: Dimension, *, quick: bool) -> tuple[Sequence[int], Sequence[Point]]:
    """A dimension's sizes, and the costs of each in a process of its own that runs `module`."""
    sizes = dimension.quick_sizes if quick else dimension.sizes
    return sizes, [_measured(module, name, size, quick=quick) for size in sizes]


def _measured(module: str, name: str, size: int, *, quick: bool) -> Point:
    command = [sys.executable, "-m", module, name, str(size), "quick" if quick else "full"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=900).stdout  # noqa: S603  (our own)
    return Point(**json.loads(told))


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent by which costs grow with sizes: of the line that fits their logarithms best. 1 is linear."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return rise / sum((x - mean_x) ** 2 for x in xs)


def growth_of(dimension: Dimension, sizes: Sequence[int], points: Sequence[Point]) -> Result:
    """The table of a dimension, with the slopes of its costs as goals."""
    time_slope = slope(sizes, [point.cpu_seconds for point in points])
    memory_slope = slope(sizes, [max(point.peak_bytes, _MIB) for point in points])
    memory_most = _FLAT if dimension.flat_memory else _LINEAR
    goals = [
        Goal(f"growth, {dimension.title}: slope of time ≤ {_LINEAR:g}", max(time_slope, 0.0), most=_LINEAR),
        Goal(f"growth, {dimension.title}: slope of memory ≤ {memory_most:g}", max(memory_slope, 0.0), most=memory_most),
    ]
    if any(point.work_bytes for point in points):
        dearest = max(point.peak_bytes / point.work_bytes for point in points)
        text = f"growth, {dimension.title}: ≤ {_BATCH_FACTOR:g} bytes of memory for each byte in work"
        goals.append(Goal(text, dearest, most=_BATCH_FACTOR))
    return Result(
        f"{dimension.title[0].upper()}{dimension.title[1:]}",
        [_row(size, point) for size, point in zip(sizes, points, strict=True)],
        goals,
        [f"Slope of time {time_slope:.2f}, of memory {memory_slope:.2f} (1 is linear, 0 is flat)."],
    )


def _row(size: int, point: Point) -> Row:
    figures: dict[str, float | str] = {
        "CPU s": point.cpu_seconds,
        "CPU µs for each": point.cpu_seconds / size * 1e6,
        "grew by MiB": point.peak_bytes / _MIB,
    }
    if point.work_bytes:
        figures["MiB in work"] = point.work_bytes / _MIB
    return Row(f"{size:,}", figures)
