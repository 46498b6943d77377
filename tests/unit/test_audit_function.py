"""The audit's Lambda: what the schedule asks for is compared, within the time that there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdc.errors import ConfigError
from consumers.aws_lambda.audit import AuditFunction, AuditRequest
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from tests.verifying import World


class Context:
    """Has so many seconds left, by the world's clock."""

    def __init__(self, world: World, seconds: float = 900) -> None:
        self.world, self.ends = world, world.clock() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends - self.world.clock()) * 1000)


def answer(world: World, *, by_setting: bool = False, seconds: float = 900, **event: Any) -> dict[str, Any]:
    world.clock.sleep(2)  # a scan sees all that was written by now
    function = AuditFunction(world.deployment, by_setting)
    return function({"tables": ["shop"], **event}, Context(world, seconds))


def drifted() -> World:
    world = World().filled()
    world.remove("item 3|x")
    return world


def test_the_answer_has_the_figure_of_each_table() -> None:
    (figure,) = answer(drifted(), items=50)["audits"]
    assert (figure["table"], figure["differences"], figure["counts"]) == ("shop", 1, {"missing": 1})


def test_a_table_may_be_named_by_its_arn() -> None:
    (figure,) = answer(World().filled(), tables=["arn:aws:dynamodb:eu-west-1:111122223333:table/shop"])["audits"]
    assert (figure["table"], figure["differences"]) == ("shop", 0)


@pytest.mark.parametrize(
    ("setting", "asked", "mended"), [(True, None, 1), (False, None, 0), (False, True, 1), (True, False, 0)]
)
def test_the_event_decides_about_a_repair_else_the_setting(setting: bool, asked: bool | None, mended: int) -> None:
    (figure,) = answer(drifted(), by_setting=setting, items=50, **({} if asked is None else {"repair": asked}))[
        "audits"
    ]
    assert sum(figure["repaired"].values()) == mended


def test_no_further_look_begins_when_the_time_is_up() -> None:
    (figure,) = answer(World().filled(), items=1000, seconds=100)["audits"]
    assert figure["checked"] == 7
    (figure,) = answer(World().filled(), items=1000)["audits"]
    assert figure["checked"] == 70


def test_what_it_finds_is_a_metric_of_the_table() -> None:
    lines: list[str] = []
    metrics = EmbeddedMetrics("DynamoDBCDC", write=lines.append)
    world = drifted()
    world.clock.sleep(2)
    with metrics.invocation(""):
        AuditFunction(world.deployment, False, metrics)({"tables": ["shop"], "items": 50}, Context(world))
    line = json.loads("".join(lines))
    assert (line["Table"], line["AuditMissing"], line["AuditGhosts"], line["AuditRepaired"]) == ("shop", 1, 0, 0)
    assert 0 < line["AuditDrift"] < line["AuditDriftUpper"]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Table"]]


@pytest.mark.parametrize("event", [{}, {"Records": []}, {"tables": "shop"}, {"tables": ["shop"], "itmes": 3}])
def test_another_event_is_refused_with_what_to_send(event: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no request of an audit"):
        AuditRequest.of(event)
