"""Sinks and functions of the user's own: loaded by name, checked at each answer, closed once at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from cdc import Applied, Cause, Change, Deadline, Deferred, Outcome, Rejected, Sink
from cdc.delivery.checked import Checked
from cdc.delivery.pipeline import Pipeline
from cdc.delivery.shared import SharedSink
from cdc.errors import ConfigError, SinkMisconfigured
from cdc.sinks.functions import FunctionSink
from cdc.testing import MemorySink, SimulatedClock, change
from consumers.aws_lambda import handler_for, handler_for_sink
from consumers.own_sinks import load_functions, load_own, load_sink
from tests.invoking import Context, event_of, records

CHANGES = [change({"pk": "a"}, None, {"n": n}, sequence=n * 10**20) for n in (1, 2)]


class Answering:
    """A sink that answers as it is told, and counts how often it is closed."""

    name = "mine"

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.closed = 0

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        if self.closed:
            raise AssertionError("it is closed")
        return [Applied()] * len(changes) if self.answer is None else self.answer

    def flush(self, deadline: Deadline) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


WRONG = {
    "nothing": ((), "0 outcomes for 2 changes"),
    "too few": ([Applied()], "1 outcomes for 2 changes"),
    "too many": ([Applied()] * 5, "5 outcomes for 2 changes"),
    "None for each": ([None, None], "NoneType for change 1 of 2"),
    "a class": ([Applied(), Applied], "type for change 2 of 2"),
    "no sequence": (True, "bool for 2 changes"),
}


@pytest.mark.parametrize(("answer", "said"), WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("around", [Checked, lambda sink: Pipeline(sink, None)], ids=["checked", "a pipeline alone"])
def test_a_sink_that_does_not_return_one_outcome_a_change_acknowledges_nothing(
    around: Callable[[Sink], Any], answer: Any, said: str
) -> None:
    with pytest.raises(SinkMisconfigured, match=f"mine: it returned {said}"):
        around(Answering(answer)).write(CHANGES, Deadline.after(1))


@pytest.mark.parametrize("answer", [WRONG["None for each"][0], WRONG["too many"][0]], ids=["None", "too many"])
def test_a_lambda_with_such_a_sink_fails_its_invocation(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    clock = SimulatedClock()
    with pytest.raises(SinkMisconfigured, match="mine"):
        handler_for_sink(Answering(answer))(event_of(*records(2)), Context(clock, clock() + 30))


def test_a_sink_of_one_s_own_stays_open_between_invocations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    sink, clock = Answering(), SimulatedClock()
    handler = handler_for_sink(sink)
    for _ in range(3):
        handler(event_of(*records(2)), Context(clock, clock() + 30))
    assert sink.closed == 0


def test_a_handler_without_lambda_s_context_says_what_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    with pytest.raises(ConfigError, match="NoneType in the place of Lambda's context\n  → Pass an object"):
        handler_for(on_insert=print)(event_of(*records(1)), None)  # type: ignore[arg-type]


def test_a_shared_sink_is_called_by_one_thread_at_a_time_and_is_not_closed() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    class Slow(MemorySink):
        def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
            try:
                return super().write(changes, deadline)
            finally:
                with lock:
                    inside -= 1

    sink = Answering()
    SharedSink(sink).close()
    assert sink.closed == 0
    shared = SharedSink(Slow())
    threads = [threading.Thread(target=shared.write, args=(CHANGES, Deadline.after(5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the working directory."""
    monkeypatch.chdir(tmp_path)
    name = f"own_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")
    (tmp_path / f"{name}.py").write_text(
        "from tests.unit.test_own_sinks import Answering\n"
        "made = Answering()\n"
        "def make(): return Answering()\n"
        "def on_insert(change): pass\n"
        "nothing = object()\n"
    )
    return name


def test_functions_are_found_by_their_names_and_each_pipeline_has_its_own_count_of_attempts(module: str) -> None:
    own = load_functions(module)
    assert isinstance(own(), FunctionSink)
    assert own() is not own()


@pytest.mark.parametrize("name", ["made", "make", "Answering"])
def test_a_sink_is_an_object_a_function_or_a_class_of_a_module(module: str, name: str) -> None:
    assert load_sink(f"{module}:{name}").name == "mine"


def test_a_sink_of_one_s_own_is_one_for_all_shards_and_closed_when_the_process_ends(module: str) -> None:
    own, close = load_own(None, f"{module}:made")
    assert own is not None
    own().close()
    assert own() is own()
    own().write(CHANGES, Deadline.after(1))
    close()
    with pytest.raises(AssertionError, match="it is closed"):
        own().write(CHANGES, Deadline.after(1))


@pytest.mark.parametrize(
    ("functions", "sink", "said"),
    [
        ("nowhere", None, "can't be imported"),
        ("json", None, "has none of on_insert, on_modify, on_remove"),
        (None, "json", "names no sink"),
        (None, "json:nothing", "has no nothing"),
        (None, "json:decoder", "lacks write"),
        ("json", "json:x", "are both given"),
    ],
)
def test_what_cannot_be_loaded_is_refused(functions: str | None, sink: str | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_own(functions, sink)


def test_a_reject_s_reason_detail_and_remedy_reach_the_dead_letter() -> None:
    import cdc

    def function(_change: Change) -> None:
        raise cdc.Reject("the customer is unknown", detail="no customer 7", remedy="Add the customer.")

    (outcome,) = FunctionSink(on_insert=function).write(CHANGES[:1], Deadline.after(1))
    assert isinstance(outcome, Rejected)
    assert outcome.detail == "the customer is unknown\nno customer 7\n→ Add the customer."
    assert "customer" not in outcome.cause.text


def test_a_reason_that_differs_at_each_try_is_one_cause() -> None:
    import cdc

    def function(one: Change) -> None:
        raise cdc.Defer(1, f"request {one.sequence} failed")

    sink = FunctionSink(on_insert=function)
    first, second = (sink.write([one], Deadline.after(1))[0] for one in CHANGES)
    assert isinstance(first, Deferred)
    assert isinstance(second, Deferred)
    assert first.cause != second.cause
    assert first.cause.key == second.cause.key
    assert Cause("x").key != first.cause.key


def test_a_handler_is_not_made_for_what_is_no_sink() -> None:
    with pytest.raises(ConfigError, match="handler_for_sink: it is no sink: it lacks write, flush, close, name"):
        handler_for_sink(cast("Sink", object()))
