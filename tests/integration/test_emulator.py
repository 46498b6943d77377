"""Lambda's runtime under its emulator: what an event source mapping meets of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.emulator import UNREACHABLE, FunctionFailed, LambdaFunction, LambdaRuntime, install_emulator, launch_function

pytestmark = pytest.mark.integration

FUNCTION = """
import os, sys, time

def handler(event, context):
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    time.sleep(event.get("sleep", 0))
    left = context.get_remaining_time_in_millis()
    return {"event": event, "left": left, "names": sorted(os.environ), "path": sys.path}
"""

Launch = Callable[..., LambdaFunction]


@pytest.fixture(scope="module")
def runtime() -> LambdaRuntime:
    return install_emulator(lambda *_: None)


@pytest.fixture
def launch(runtime: LambdaRuntime, tmp_path: Path) -> Iterator[Launch]:
    task = tmp_path / "task"
    task.mkdir()
    (task / "own.py").write_text(FUNCTION)
    started: list[LambdaFunction] = []

    def launched(handler: str = "own.handler", **environment: str) -> LambdaFunction:
        started.append(launch_function(tmp_path, runtime, task, handler, environment, timeout_seconds=4))
        return started[-1]

    yield launched
    for function in started:
        function.stop()


def test_a_function_answers_and_sees_nothing_of_this_process(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_ARCHIVE_BUCKET", "of the tests")
    answer = launch(MINE="1").invoke({"number": 1})
    assert answer["event"] == {"number": 1}
    assert 0 < answer["left"] <= 4000
    assert {"MINE", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_RUNTIME_API"} <= set(answer["names"])
    assert not {"CDC_ARCHIVE_BUCKET", "PYTHONPATH", "VIRTUAL_ENV"} & set(answer["names"])
    assert str(Path(__file__).parents[2]) not in answer["path"]


def test_an_error_of_the_handler_has_its_class_and_words_and_the_next_event_is_answered(launch: Launch) -> None:
    function = launch()
    with pytest.raises(FunctionFailed, match="of no use") as failed:
        function.invoke({"raise": "of no use"})
    assert failed.value.kind == "ValueError"
    assert function.invoke({})["event"] == {}


def test_a_timeout_ends_the_function_and_the_next_event_starts_it_anew(launch: Launch) -> None:
    function = launch()
    with pytest.raises(FunctionFailed, match="timed out") as failed:
        function.invoke({"sleep": 60})
    assert failed.value.kind == "Sandbox.Timedout"
    assert function.invoke({})["event"] == {}
    report = function.report()
    assert len(report.inits) == 2
    assert len(report.invocations) == 1


def test_a_function_that_ends_by_itself_has_failed(launch: Launch) -> None:
    with pytest.raises(FunctionFailed, match="exit status 3") as failed:
        launch().invoke({"exit": 3})
    assert failed.value.kind == "Runtime.ExitError"


def test_a_handler_that_is_not_there_is_said(launch: Launch) -> None:
    with pytest.raises(FunctionFailed, match="nothing") as failed:
        launch("own.nothing").invoke({})
    assert failed.value.kind == "Runtime.HandlerNotFound"


def test_what_is_stopped_is_gone(launch: Launch) -> None:
    function = launch()
    family = function.process.server
    function.invoke({})
    function.stop()
    assert not family.is_running()
    with pytest.raises(FunctionFailed) as failed:
        function.invoke({})
    assert failed.value.kind == UNREACHABLE
