"""Which seed shows that a rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.simulation.plan import draw_plan
from tests.simulation.trials import try_plan

__all__ = ["WITHIN", "Found", "first_seed_that_finds"]

WITHIN = 500
"""So many seeds must be enough."""


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
    for seed in range(within):
        with pytest.MonkeyPatch.context() as patch:
            rule(patch)
            broken = try_plan(draw_plan(seed))
        if broken.violations and not broken.trace and not try_plan(draw_plan(seed)).violations:
            return Found(rule.__name__, seed, broken.violations[0])
    return Found(rule.__name__, None, None)
