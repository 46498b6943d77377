"""`cdc audit`: the figure, its bound, and exit codes that scripts may trust."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumers.cli.audit import WantedAudit, audited
from tests.unit.test_cli import cdc
from tests.verifying import World


def code(world: World, **wanted: Any) -> int:
    world.clock.sleep(2)  # a scan sees all that was written by now
    return audited(world.deployment, WantedAudit("shop", **wanted))


def drifted() -> World:
    world = World().filled()
    world.remove("item 3|x")
    return world


def test_the_exit_code_says_whether_something_differs() -> None:
    assert code(World().filled()) == 0
    assert code(drifted()) == 1


def test_a_repair_that_mends_all_ends_well_and_one_that_cannot_says_so() -> None:
    world = drifted()
    assert code(world, repair=True) == 0
    assert world.kinds() == {}
    world.plant("item 3|x", {"total": 1}, 2**62)
    assert code(world, repair=True) == 3


def test_people_read_the_verdict_first(capsys: pytest.CaptureFixture[str]) -> None:
    code(drifted(), items=50)
    out, error = capsys.readouterr()
    assert out.startswith("shop: 7 documents checked, 1 missing: drift 142,857 ppm (95 % sure: below 520,703)")
    assert "`cdc verify --table shop`" in out
    assert "read units" in out
    assert "about 7 items" in error


def test_machines_read_json_without_an_item(capsys: pytest.CaptureFixture[str]) -> None:
    code(drifted(), items=50, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert (facts["table"], facts["checked"], facts["differences"], facts["left"]) == ("shop", 7, 1, 1)
    assert facts["counts"] == {"missing": 1}
    assert "item 3" not in json.dumps(facts)


def test_many_items_are_looked_at_in_several_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert code(World().filled(), items=2500, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == 3 * 7


def test_the_help_has_an_example_and_the_exit_codes() -> None:
    shown = cdc("audit", "--help").stdout
    assert "cdc audit --table shop" in shown
    assert "Exit codes" in shown
