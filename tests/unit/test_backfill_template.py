"""`deploy/backfill/template.yaml`: CloudFormation and the states language take it, and it fits the function."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from consumers.aws_lambda.load import LoadFunction
from consumers.settings import PREFIX, Settings
from tests.states import PATH, definition, template
from tests.unit.test_load_function import World

FUNCTION = "arn:aws:lambda:eu-west-1:111122223333:function:load"


def lint(source: str) -> list[str]:
    from cfnlint.api import lint_all

    return [f"{match.rule.id} {match.message}" for match in lint_all(source) if match.rule.id[0] in "EW"]


def test_cloudformation_takes_the_template() -> None:
    assert lint(PATH.read_text(encoding="utf-8")) == []


def as_plain_resource(found: Mapping[str, Any]) -> str:
    """The resource that SAM makes of it: cfn-lint holds that to the schema of the states language."""
    role = "arn:aws:iam::111122223333:role/load"
    properties = {"RoleArn": role, "Definition": found}
    return json.dumps(
        {"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}}
    )


def test_the_states_language_takes_the_definition() -> None:
    assert lint(as_plain_resource(definition(FUNCTION))) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"Succeed"', '"Succeeds"'),
        ('"NumericEquals"', '"NumericEqual"'),
        ('"StartAt": "Plan"', '"StartAt": "Plans"'),
        ('"Next": "Open"', '"Nexts": "Open"'),
    ],
)
def test_the_check_of_the_states_language_sees_a_fault(right: str, wrong: str) -> None:
    source = as_plain_resource(definition(FUNCTION))
    assert source.count(right) == 1
    assert any(fault.startswith("E3601") for fault in lint(source.replace(right, wrong)))


def states(found: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, state in found["States"].items():
        yield name, state
        if state["Type"] == "Map":
            yield from states(state["ItemProcessor"])


def test_every_state_leads_to_one_that_is_there_and_each_is_reached() -> None:
    found = definition("fn")
    named = {
        step
        for _, state in states(found)
        for step in (
            state.get("Next"),
            state.get("Default"),
            *(choice["Next"] for choice in state.get("Choices", ())),
        )
        if step
    }
    assert {*named, found["StartAt"]} == set(found["States"])


def test_each_task_sends_a_step_that_the_function_knows() -> None:
    world = World()
    found = dict(states(definition("fn")))
    state = world.planned()
    sent = {"plan": None, "unit": world.units(state)[0], "open": state, "verdict": state}
    steps = {name: one["Parameters"]["Payload"] for name, one in found.items() if one["Type"] == "Task"}
    assert {payload["step"] for payload in steps.values()} == set(sent)
    for payload in steps.values():
        event = {name.removesuffix(".$"): value for name, value in payload.items()}
        event |= {name: sent[event["step"]] for name in ("item", "state") if name in event}
        if event["step"] == "plan":
            event |= {"request": {"table": "shop"}, "concurrency": "10"}
        assert LoadFunction.__call__(world.function, event, Patient())


class Patient:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_what_the_engine_of_the_tests_leaves_aside_is_there() -> None:
    """It heeds neither the bound of concurrency nor the writer of results: AWS does both."""
    units = definition("fn")["States"]["Units"]
    state = World().planned()
    assert units["MaxConcurrencyPath"] == "$.concurrency"
    assert state["concurrency"] == 10
    assert units["ResultWriter"]["Parameters"]["Bucket"]
    assert units["ResultPath"] is None
    assert units["ToleratedFailurePercentage"] == 100


def test_an_answer_fits_into_a_state() -> None:
    """AWS Step Functions Developer Guide, "Quotas": 256 KiB."""
    world = World()
    state = world.planned()
    assert len(json.dumps(state)) < 10_000
    assert len(json.dumps(world.step("unit", item=world.units(state)[0]))) < 10_000


def test_the_function_knows_its_settings() -> None:
    (function,) = [one for one in template()["Resources"].values() if one["Type"] == "AWS::Serverless::Function"]
    variables = function["Properties"]["Environment"]["Variables"]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.__struct_fields__}
    assert set(variables) <= known


def test_every_parameter_is_used_and_explained() -> None:
    source = PATH.read_text(encoding="utf-8").partition("\nConditions:\n")[2]
    for name, parameter in template()["Parameters"].items():
        assert f"!Ref {name}" in source or f"${{{name}}}" in source, name
        assert parameter["Description"], name
