"""The audit: what was planted shows in the figure, and a figure says how sure it is."""

from __future__ import annotations

import pytest

from cdc.errors import ConfigError
from cdc.verification.audit import Audit, AuditFigure
from cdc.verification.drift import drift
from tests.verifying import World


def audit_of(world: World, **options: object) -> Audit:
    world.clock.sleep(2)  # a scan sees all that was written by now
    return Audit(world.deployment, "shop", seed=1, **options)  # type: ignore[arg-type]


def test_an_index_that_is_right_has_no_drift_and_a_bound_that_falls() -> None:
    audit = audit_of(World().filled(20))
    first, second = audit.look(20), audit.look(20)
    assert (first.checked, second.checked) == (20, 40)  # a document that is drawn from both sides counts once a look
    assert (second.differences, second.drift.ppm, second.looks) == (0, 0, 2)
    assert first.drift.upper_ppm == 1_000_000 * 3 / 20
    assert second.drift.upper_ppm == 1_000_000 * 3 / 40
    assert second.last is not None
    assert second.since <= second.last
    assert second.read_units > first.read_units > 0
    assert second.verdict == "40 documents checked, no difference: drift 0 ppm (95 % sure: below 75,000)"


def test_planted_differences_of_each_side_are_seen() -> None:
    world = World().filled(7)
    world.remove("item 3|x")
    world.table.delete(("item 4", "x"))
    world.skip()
    figure = audit_of(world).look(50)
    assert figure.counts == {"missing": 1, "ghost": 1}
    assert (figure.differences, figure.left) == (2, 2)
    assert figure.drift.ppm == 1_000_000 * 2 / figure.checked
    assert figure.drift.upper_ppm > figure.drift.ppm


def test_a_repair_mends_and_the_difference_counts_all_the_same() -> None:
    world = World().filled(7)
    world.remove("item 3|x")
    audit = audit_of(world, repair=True)
    figure = audit.look(50)
    assert (figure.differences, figure.repaired, figure.left) == (1, {"missing": 1}, 0)
    assert audit.look(50).differences == 1
    assert world.kinds() == {}


def test_without_a_repair_nothing_is_written() -> None:
    world = World().filled(7)
    world.remove("item 3|x")
    audit_of(world).look(50)
    assert world.kinds() == {"missing": 1}


def test_a_dead_letter_explains_a_difference_which_is_none_then() -> None:
    figure = AuditFigure("shop", World().clock.utc(), checked=10, counts={"kept": 2, "stale": 1})
    assert (figure.differences, figure.drift.ppm) == (1, 100_000)


def test_the_table_is_not_read_whole_for_documents_that_tell_no_item() -> None:
    world = World().filled(60)
    world.plant("elsewhere", {"total": 1}, 7)
    figure = audit_of(world).look(60)
    assert (figure.untold, figure.differences) == (1, 0)
    assert world.kinds(sample=61) == {"ghost": 1}  # all of them: a smaller sample may miss it


def test_whoever_observes_is_told_the_figure_after_each_look() -> None:
    seen: list[AuditFigure] = []
    audit = audit_of(World().filled(), observe=seen.append)
    figures = [audit.look(3), audit.look(3)]
    assert seen == figures


def test_a_look_that_fails_leaves_the_figure_as_it_was() -> None:
    world = World().filled()
    audit = audit_of(world)
    before = audit.look(3)
    audit.table = "users"
    with pytest.raises(ConfigError):
        audit.look(3)
    assert audit.figure == before


@pytest.mark.parametrize(
    ("checked", "differences", "upper_ppm"),
    [(0, 0, 1_000_000), (1, 0, 1_000_000), (300, 0, 10_000), (100, 1, 46_557), (1000, 10, 16_904), (5, 5, 1_000_000)],
)
def test_the_bound_is_three_in_n_or_the_exact_one(checked: int, differences: int, upper_ppm: float) -> None:
    assert drift(checked, differences).upper_ppm == pytest.approx(upper_ppm, rel=1e-3)


@pytest.mark.parametrize(("checked", "differences"), [(3, 4), (3, -1), (-1, 0)])
def test_more_differences_than_were_checked_are_refused(checked: int, differences: int) -> None:
    with pytest.raises(ValueError, match="differences of"):
        drift(checked, differences)
