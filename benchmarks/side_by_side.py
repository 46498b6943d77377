"""Side by side: contenders take turns on the same work, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.results import Spread

__all__ = ["Contender", "Series", "Turn", "side_by_side"]

Contender = Callable[[], object]
"""Does the work once; what it returns is dropped."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The cost of one repetition of the work, in seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Series:
    """All turns of one contender, in order."""

    turns: tuple[Turn, ...]

    @property
    def cpu(self) -> Spread:
        """CPU seconds of the work, of all threads of this process."""
        return Spread.of(turn.cpu for turn in self.turns)

    @property
    def wall(self) -> Spread:
        """Seconds on the clock."""
        return Spread.of(turn.wall for turn in self.turns)

    def times(self, other: Series) -> Spread:
        """How many times the CPU of `other` this took: the ratio of turns that stood beside each other."""
        return Spread.of(mine.cpu / theirs.cpu for mine, theirs in zip(self.turns, other.turns, strict=True))

    def wall_times(self, other: Series) -> Spread:
        """The same of the time on the clock."""
        return Spread.of(mine.wall / theirs.wall for mine, theirs in zip(self.turns, other.turns, strict=True))


def side_by_side(contenders: Mapping[str, Contender], *, rounds: int, turn_seconds: float = 0.02) -> dict[str, Series]:
    """Let each contender have a turn in each of `rounds` rounds; a turn repeats its work for about `turn_seconds`.

    Each turn begins with a collected heap, and pays for collecting what it allocates itself.
    """
    repetitions = {name: _repetitions(work, turn_seconds) for name, work in contenders.items()}
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    gc.collect()
    gc.freeze()  # what stands at the start costs nobody's collections anything
    try:
        for _ in range(rounds):
            for name, work in contenders.items():
                turns[name].append(_turn(work, repetitions[name]))
    finally:
        gc.unfreeze()
    return {name: Series(tuple(taken)) for name, taken in turns.items()}


def _repetitions(work: Contender, turn_seconds: float) -> int:
    """How often the work fits in a turn; warms it up on the way."""
    repetitions = 1
    while True:
        spent = _turn(work, repetitions).wall * repetitions
        if spent >= turn_seconds / 2:
            return max(1, round(repetitions * turn_seconds / spent))
        repetitions *= 4 if spent < turn_seconds / 8 else 2


def _turn(work: Contender, repetitions: int) -> Turn:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repetitions):
        work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Turn(cpu / repetitions, wall / repetitions)
