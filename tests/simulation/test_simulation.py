"""The promise holds in simulations: those of today's seeds, and of every seed that ever failed.

Which seeds are tried changes with the day; a failure prints the command that repeats it on any other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.simulation.broken_rules import BROKEN_RULES, Break
from tests.simulation.plan import draw_plan
from tests.simulation.runner import command
from tests.simulation.search import WITHIN, seed_that_finds
from tests.simulation.simulation import simulate_seed
from tests.simulation.trials import Trial, first_seed_of, try_plan, try_seeds

SEEDS = 60
FIRST = first_seed_of(datetime.now(UTC).date())
FAILED_ONCE = Path(__file__).with_name("failed_seeds.txt")


def seeds_that_failed_once() -> list[int]:
    lines = FAILED_ONCE.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]


def told(trial: Trial) -> str:
    return "\n  ".join([f"{command(trial.seed)}", *trial.violations, *trial.trace])


@pytest.mark.parametrize("first", [FIRST], ids="from-{}".format)
def test_no_seed_of_today_breaks_the_promise(first: int) -> None:
    trials = list(try_seeds(range(first, first + SEEDS)))
    assert {trial.seed for trial in trials} == set(range(first, first + SEEDS))
    failed = [told(trial) for trial in trials if trial.violations]
    assert not failed, f"{len(failed)} of the {SEEDS} seeds from {first}:\n" + "\n".join(failed)


@pytest.mark.parametrize("seed", seeds_that_failed_once())
def test_a_seed_that_failed_once_fails_no_more(seed: int) -> None:
    trial = try_plan(draw_plan(seed))
    assert not trial.violations, told(trial)


@pytest.mark.parametrize("rule", BROKEN_RULES, ids=lambda rule: rule.__name__)
def test_a_rule_that_is_broken_is_found(rule: Break) -> None:
    found = seed_that_finds(rule)
    assert found.seed is not None, f"no seed of the first {WITHIN} finds {found.rule}"


@pytest.mark.parametrize("seed", range(8))
def test_the_same_seed_gives_the_same_report(seed: int) -> None:
    first, again = simulate_seed(seed), simulate_seed(seed)
    assert first.counts["changes"]
    assert first == again
