"""`python -m tests.simulation.runner`: what it prints, how it ends, and how a failure becomes small."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date

import pytest
from typer.testing import CliRunner

from cdc.testing.faults import Killed
from tests.simulation import runner as module
from tests.simulation import trials
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.runner import Figures, app, command
from tests.simulation.simulation import Report, smallest
from tests.simulation.trials import Trial, first_seed_of, try_plan, try_seeds


def ran(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def failing(plan: Plan) -> Trial:
    """A trial that fails wherever a table is split."""
    kinds = {event.kind for event in plan.events}
    violations = ("a split [is] lost",) if "split" in kinds else ()
    return Trial(plan.seed, plan.consumer, plan.view.value, plan.on_remove, violations, Counter({"changes": 1}))


@pytest.fixture
def splits_fail(monkeypatch: pytest.MonkeyPatch) -> int:
    """A seed whose plan fails, by a fault of which the processes that are started know nothing."""
    monkeypatch.setattr(module, "try_plan", failing)
    monkeypatch.setattr(module, "try_seeds", lambda seeds, _: (failing(draw_plan(seed)) for seed in seeds))
    monkeypatch.setattr(
        module,
        "shrink",
        lambda seeds, _: (
            (seed, smallest(draw_plan(seed), lambda plan: bool(failing(plan).violations))) for seed in seeds
        ),
    )
    return next(seed for seed in range(100) if failing(draw_plan(seed)).violations)


def test_figures_of_seeds_that_keep_the_promise() -> None:
    code, output = ran("--seeds", "12", "--first", "0", "--processes", "2")
    assert code == 0
    assert "12 seeds from 0" in output
    for named in ("schedules  12", "changes", "acknowledged", "replays", "conflicts", "archived twice", "dead letters"):
        assert named in output
    assert "0 of 12 seeds failed" in output


def test_the_figures_as_json_add_up() -> None:
    code, output = ran("--seeds", "3", "--first", "5", "--processes", "1", "--json")
    facts = json.loads(output[output.index("{") :])
    assert code == 0
    assert (facts["first"], facts["seeds"], facts["failed"], facts["failures"]) == (5, 3, 0, [])
    assert {sum(counts.values()) for counts in facts["schedules"].values()} == {3}
    assert facts["counts"]["changes"] == sum(try_plan(draw_plan(seed)).counts["changes"] for seed in (5, 6, 7))


def test_a_failure_is_told_with_its_smallest_schedule_and_the_command_that_repeats_it(splits_fail: int) -> None:
    code, output = ran("--seeds", "1", "--first", str(splits_fail))
    (place, *_) = (number for number, event in enumerate(draw_plan(splits_fail).events) if event.kind == "split")
    assert code == 1
    assert "a split [is] lost" in output
    repeated = next(line for line in output.splitlines() if line.startswith("  again: ")).removeprefix("  again: ")
    seed, events = repeated.split()[-3], repeated.split()[-1]
    assert int(seed) == splits_fail
    assert draw_plan(splits_fail).events[int(events)].kind == "split"
    assert int(events) >= place
    assert ran("--seed", seed, "--events", events)[0] == 1


def test_one_seed_again_tells_each_event_and_the_smallest_schedule_if_it_fails(splits_fail: int) -> None:
    code, output = ran("--seed", str(splits_fail))
    assert code == 1
    assert "the promise was broken" in output
    assert f"--seed {splits_fail} --events " in output
    told = [line.split()[1] for line in output.splitlines() if "  amount " in line]
    assert told == [event.kind.split()[0] for event in draw_plan(splits_fail).events]


def test_one_seed_again_as_json() -> None:
    code, output = ran("--seed", "3", "--events", "0,3,7", "--json")
    facts = json.loads(output)
    assert code == 0
    assert [event["place"] for event in facts["events"]] == [0, 3, 7]
    assert facts["violations"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--events", "1,2"),
        ("--seed", "3", "--events", "2,1"),
        ("--seed", "3", "--events", "1,1"),
        ("--seed", "3", "--events", "1,9000"),
        ("--seed", "3", "--events", "-1"),
        ("--seed", "3", "--events", "a"),
    ],
    ids=" ".join,
)
def test_events_that_the_plan_has_not_are_refused(arguments: tuple[str, ...]) -> None:
    assert ran(*arguments)[0] == 2


@pytest.mark.parametrize("death", [ValueError("what\nwas that"), Killed()], ids=["exception", "killed"])
def test_an_exception_in_a_simulation_is_a_failure_of_its_seed_alone(
    death: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(_plan: Plan) -> Report:
        raise death

    monkeypatch.setattr(trials, "simulate", breaks_off)
    trial = try_plan(draw_plan(4))
    figures = Figures(first=4)
    figures.add(trial)
    assert type(death).__name__ in trial.violations[0]
    assert any("breaks_off" in line for line in trial.trace)
    assert figures.failures == [trial]


def test_seeds_in_parallel_give_what_each_gives_alone() -> None:
    assert sorted(try_seeds(range(30, 42), processes=2), key=lambda trial: trial.seed) == [
        try_plan(draw_plan(seed)) for seed in range(30, 42)
    ]


def test_the_smallest_schedule_fails_and_no_event_of_it_can_be_left_out() -> None:
    plan = draw_plan(0)
    needed = {3, 4, 20, len(plan.events) - 1}
    wanted = {plan.events[place] for place in needed}

    def fails(fewer: Plan) -> bool:
        return wanted <= set(fewer.events)

    places = smallest(plan, fails)
    assert fails(plan.with_events(places))
    assert not any(fails(plan.with_events([*places[:at], *places[at + 1 :]])) for at in range(len(places)))


def test_what_fails_without_any_event_is_repeated_without_any() -> None:
    assert smallest(draw_plan(0), lambda _: True) == ()
    assert command(0, ()) == "python -m tests.simulation.runner --seed 0 --events none"
    assert ran("--seed", "0", "--events", "none")[0] == 0


def test_each_day_has_seeds_of_its_own() -> None:
    assert first_seed_of(date(2026, 1, 16)) - first_seed_of(date(2026, 1, 15)) >= 1000
