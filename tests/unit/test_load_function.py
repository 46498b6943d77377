"""The Lambda of large loads: planned, done unit by unit, open units listed again, and brought to a verdict."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.loads.jobs import Jobs, S3Objects
from cdc.loads.price import price_of_step_functions
from consumers.aws_lambda.load import LoadFunction
from tests.loading import ARCHIVE, LoadedTable


class Context:
    """Has so many seconds left."""

    def __init__(self, seconds: float = 900.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class World:
    """A table of 40 items that were there before its stream was read."""

    def __init__(self) -> None:
        self.table = LoadedTable()
        for number in range(40):
            self.table.table.put((f"item {number}", "x"), {"n": number})
        self.table.clock.sleep(60)
        objects = S3Objects(self.table.s3, ARCHIVE, "cdc/jobs/", self.table.clock.sleep)  # type: ignore[arg-type]
        self.function = LoadFunction(self.table.deployment, Jobs(objects))

    def planned(self, **request: Any) -> dict[str, Any]:
        return self.step("plan", request={"table": "shop", **request}, concurrency="10")

    def step(self, name: str, seconds: float = 900.0, **event: Any) -> dict[str, Any]:
        answer = self.function({"step": name, **event}, Context(seconds))
        json.dumps(answer)
        return answer

    def units(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        body = self.table.s3.objects[state["key"]].body
        return [json.loads(line) for line in body.splitlines()]


def test_a_load_is_planned_done_and_proven_step_by_step() -> None:
    world = World()
    state = world.planned()
    assert (state["bucket"], state["open"], state["concurrency"]) == (ARCHIVE, len(world.units(state)), 10)
    done = [world.step("unit", item=item) for item in world.units(state)]
    assert all(one["done"] for one in done)
    assert sum(one["items"] for one in done) == 40
    state = world.step("open", state=state)
    assert (state["open"], state["round"], world.units(state)) == (0, 1, [])
    verdict = world.step("verdict", state=state)
    assert (verdict["finished"], verdict["remaining"], verdict["items"]) == (True, 0, 40)
    assert verdict["verdict"] == "40 items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"
    assert world.table.documents() == world.table.wanted()


def test_a_unit_whose_time_is_up_is_open_and_goes_on_at_its_cursor() -> None:
    world = World()
    state = world.planned()
    first, *others = world.units(state)
    for item in others:
        world.step("unit", item=item)
    assert world.step("unit", seconds=0, item=first)["done"] is False
    state = world.step("open", state=state)
    assert [item["unit"]["name"] for item in world.units(state)] == [first["unit"]["name"]]
    assert world.step("unit", item=world.units(state)[0])["done"] is True
    assert world.step("open", state=state)["open"] == 0


def test_a_unit_that_failed_is_open_in_the_next_round() -> None:
    world = World()
    state = world.planned()
    item = world.units(state)[0]
    read = world.function.deployment.pages.page

    def refuses(*_arguments: Any, **_options: Any) -> Any:
        raise ConfigError("the table shop can't be read", remedy="Allow dynamodb:Scan on shop.")

    object.__setattr__(world.function.deployment.pages, "page", refuses)
    with pytest.raises(ConfigError, match="can't be read"):
        world.step("unit", item=item)
    object.__setattr__(world.function.deployment.pages, "page", read)
    state = world.step("open", state=state)
    assert item["unit"] in [one["unit"] for one in world.units(state)]


def test_an_execution_that_begins_anew_goes_on_with_the_load() -> None:
    world = World()
    first = world.planned()
    world.step("unit", item=world.units(first)[0])
    again = world.planned()
    assert (again["job"], again["open"]) == (first["job"], first["open"] - 1)


def test_read_units_are_shared_by_the_functions() -> None:
    world = World()
    state = world.planned(max_read_units=100)
    assert {item["max_read_units"] for item in world.units(state)} == {10.0}
    state = world.step("open", state=state)
    assert {item["max_read_units"] for item in world.units(state)} == {10.0}


def test_a_verdict_whose_time_is_up_says_so() -> None:
    world = World()
    state = world.planned()
    for item in world.units(state):
        world.step("unit", item=item)
    stopped = world.step("verdict", seconds=0, state=world.step("open", state=state))
    assert (stopped["finished"], stopped["stopped"]) == (False, 1)
    assert world.step("verdict", state={**stopped})["finished"] is True


def test_a_verdict_without_verification_says_that_too() -> None:
    world = World()
    state = world.planned(verify=False)
    for item in world.units(state):
        world.step("unit", item=item)
    verdict = world.step("verdict", state=world.step("open", state=state))
    assert verdict["verdict"] == "40 items loaded, 0 dead letters; not verified"


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"step": "fly"}, "fly"),
        ({"step": "plan", "request": {"tabel": "shop"}, "concurrency": 1}, "tabel"),
        ({}, "step"),
    ],
)
def test_an_event_that_is_no_step_is_refused(event: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        World().function(event, Context())
    assert "Start the state machine with" in str(refused.value.remedy)


def test_the_price_of_step_functions_is_of_transitions_functions_and_invocations() -> None:
    price = price_of_step_functions(1000, 3_000_000)
    assert price.transitions == 3008
    assert price.gigabyte_seconds == 7076.0
    assert price.dollars == pytest.approx(3008 * 0.025 / 1000 + 7076 * 0.0000133334 + 1000 * 0.2 / 1_000_000)
