"""Trials: seeds simulated one after another or in parallel processes; whatever happens in one, the others go on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from cdc.testing.faults import Killed
from tests.simulation.plan import Consumer, Plan, draw_plan
from tests.simulation.simulation import simulate, smallest

__all__ = ["Trial", "first_seed_of", "shrink", "try_plan", "try_seeds"]

_CHUNK = 10
"""Seeds a task: about half a second, so that progress is seen and handing over costs nothing."""
_LAST_LINES = 12
_SEEDS_A_DAY = 100_000


def first_seed_of(day: date) -> int:
    """Where a day's seeds begin, so that every day tries others."""
    return (day - date(1970, 1, 1)).days * _SEEDS_A_DAY


@dataclass(frozen=True, slots=True)
class Trial:
    """A seed's plan in short, and what came of it: nothing in `violations` if the promise was kept.

    `trace`: the last lines of the exception that ended it, if one did; that is a violation too.
    """

    seed: int
    consumer: Consumer
    view: str
    on_remove: str
    violations: tuple[str, ...]
    counts: Counter[str]
    trace: tuple[str, ...] = ()


def try_plan(plan: Plan) -> Trial:
    """Simulate a plan; an exception is a violation as any other."""
    try:
        report = simulate(plan)
    except (Exception, Killed) as error:  # noqa: BLE001  (whatever it is, it is what the simulation was to find)
        trace = tuple("".join(traceback.format_exception(error)).rstrip().splitlines()[-_LAST_LINES:])
        violations = (f"it broke off: {type(error).__name__}: {error}",)
        return Trial(plan.seed, plan.consumer, plan.view.value, plan.on_remove, violations, Counter(), trace)
    return Trial(plan.seed, plan.consumer, plan.view.value, plan.on_remove, report.violations, report.counts)


def try_seeds(seeds: Sequence[int], processes: int | None = None) -> Iterator[Trial]:
    """Simulate seeds in parallel processes (default: one a processor); trials come as they are done, in any order.

    Processes are started anew and import the caller's main module: a script of yours must guard what it does with
    `if __name__ == "__main__":`.
    """
    chunks = [seeds[start : start + _CHUNK] for start in range(0, len(seeds), _CHUNK)]
    with _processes(min(processes or os.cpu_count() or 1, len(chunks))) as pool:
        for done in as_completed([pool.submit(_try_all, chunk) for chunk in chunks]):
            yield from done.result()


def shrink(seeds: Sequence[int], processes: int | None = None) -> Iterator[tuple[int, tuple[int, ...]]]:
    """For each seed that fails, the places of as few events of its plan as still fail; as they are found."""
    if not seeds:
        return
    with _processes(min(processes or os.cpu_count() or 1, len(seeds))) as pool:
        tasks = {pool.submit(_shrunk, seed): seed for seed in seeds}
        for done in as_completed(tasks):
            yield tasks[done], done.result()


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that forgets what waits when its user stops, and leaves Ctrl-C to the process that started it."""
    # not forked: a thread of the caller's may hold a lock at that moment
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(count, 1), spawn, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _try_all(seeds: Sequence[int]) -> list[Trial]:
    return [try_plan(draw_plan(seed)) for seed in seeds]


def _shrunk(seed: int) -> tuple[int, ...]:
    return smallest(draw_plan(seed), lambda plan: bool(try_plan(plan).violations))
