"""The seed that shows that a rule is broken.

`found_by.txt` remembers the seed that showed it last, which is tried first. A rule or a product that has changed may
need another: then all are searched again, and `python -m tests.simulation --remember` writes the file anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.simulation.plan import draw_plan
from tests.simulation.trials import try_plan

__all__ = ["WITHIN", "Found", "first_seed_that_finds", "remember", "seed_that_finds"]

WITHIN = 500
"""So many seeds must be enough."""
_REMEMBERED = Path(__file__).with_name("found_by.txt")


@dataclass(frozen=True, slots=True)
class Found:
    """A rule, the first seed whose simulation finds it broken, and what the checker says then; None: no seed does."""

    rule: str
    seed: int | None
    violation: str | None


def first_seed_that_finds(rule: Callable[[pytest.MonkeyPatch], None], within: int = WITHIN) -> Found:
    """Break a rule, and simulate one seed after another until the checker objects.

    An exception is no finding, and neither is what the checker says of the seed when no rule is broken.
    """
    found = (_tried(rule, seed) for seed in range(within))
    return next((one for one in found if one.seed is not None), Found(rule.__name__, None, None))


def seed_that_finds(rule: Callable[[pytest.MonkeyPatch], None]) -> Found:
    """The remembered seed if it still finds the rule broken, else the first that does."""
    seed = _remembered().get(rule.__name__)
    found = Found(rule.__name__, None, None) if seed is None else _tried(rule, seed)
    return first_seed_that_finds(rule) if found.seed is None else found


def remember(found: Iterable[Found]) -> None:
    """Write the seeds, those of rules that were not searched kept."""
    seeds = _remembered() | {one.rule: one.seed for one in found if one.seed is not None}
    lines = [f"{rule} {seed}\n" for rule, seed in sorted(seeds.items())]
    _REMEMBERED.write_text("# The seed that shows that a rule is broken; see search.py.\n" + "".join(lines))


def _tried(rule: Callable[[pytest.MonkeyPatch], None], seed: int) -> Found:
    with pytest.MonkeyPatch.context() as patch:
        rule(patch)
        broken = try_plan(draw_plan(seed))
    if broken.violations and not broken.trace and not try_plan(draw_plan(seed)).violations:
        return Found(rule.__name__, seed, broken.violations[0])
    return Found(rule.__name__, None, None)


def _remembered() -> dict[str, int]:
    lines = _REMEMBERED.read_text(encoding="utf-8").splitlines() if _REMEMBERED.exists() else []
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return {rule: int(seed) for rule, seed in pairs}
