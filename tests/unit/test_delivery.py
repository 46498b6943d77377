"""Retries, dead letters, functions, fanout, the pipeline and the Lambda handler, without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Defer, Deferred, Outcome, Reject, Rejected, Skipped, Superseded
from cdc.causes import Cause
from cdc.dead_letters.letter import DeadLetter
from cdc.delivery.dead_lettering import DeadLettering
from cdc.delivery.fanout import Fanout
from cdc.delivery.pipeline import Pipeline
from cdc.delivery.retrying import Retrying
from cdc.errors import ConfigError, SinkUnavailable
from cdc.outcome import worst
from cdc.records.decoding import read_lambda
from cdc.sinks.functions import FunctionSink
from cdc.testing import MemorySink, ScriptedSink, change, stream_record
from consumers.aws_lambda import handler_for
from consumers.settings import describe, load_settings


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Letters:
    """A dead-letter store in memory, that may fail."""

    def __init__(self, failing: bool = False) -> None:
        self.kept: dict[str, DeadLetter] = {}
        self.stored = 0
        self.failing = failing

    def keep(self, letter: DeadLetter) -> None:
        if self.failing:
            raise SinkUnavailable("dead letters", "no bucket")
        self.kept[letter.name] = letter
        self.stored += 1


def changes(count: int) -> list[Change]:
    return [change({"pk": f"k{number}"}, None, {"n": number}, sequence=number + 1) for number in range(count)]


def test_deferred_changes_are_tried_again_until_they_are_settled() -> None:
    clock = Clock()
    tries: Iterator[Outcome] = iter([Deferred(Cause("busy"), 3.0), Deferred(Cause("busy")), Applied()])
    sink = ScriptedSink(lambda one: next(tries) if one.after == {"pk": "k1", "n": 1} else Applied())
    outcomes = Retrying(sink, sleep=clock.sleep).write(changes(3), Deadline.after(60, clock=clock))
    assert outcomes == [Applied()] * 3
    assert len(sink.written) == 3 + 1 + 1
    assert clock.slept[0] >= 3.0


def test_retries_end_before_the_deadline() -> None:
    clock = Clock()
    sink = ScriptedSink(lambda _: Deferred(Cause("busy"), 4.0))
    outcomes = Retrying(sink, sleep=clock.sleep).write(changes(1), Deadline.after(10, clock=clock))
    assert outcomes == [Deferred(Cause("busy"), 4.0)]
    assert clock.now < 10


def test_retries_end_when_the_work_is_not_wanted_any_more() -> None:
    clock, wanted = Clock(), iter([True, True, False])
    sink = ScriptedSink(lambda _: Deferred(Cause("busy")))
    deadline = Deadline.after(1000, clock=clock, wanted=lambda: next(wanted, False))
    assert Retrying(sink, sleep=clock.sleep).write(changes(1), deadline) == [Deferred(Cause("busy"))]
    assert len(sink.written) <= 3


def test_a_rejected_change_is_kept_whole_before_it_counts_as_settled() -> None:
    letters = Letters()
    sink = DeadLettering(ScriptedSink(lambda _: Rejected(Cause("no"), "detail", "orders/1", "shop.yml")), letters)
    (outcome,) = sink.write(changes(1), Deadline.after(1))
    assert outcome == Rejected(Cause("no"), "detail", "orders/1", "shop.yml", kept=True)
    (letter,) = letters.kept.values()
    assert letter.record["dynamodb"]["NewImage"]["n"] == {"N": "0"}
    assert (letter.reason, letter.detail, letter.document, letter.sink) == ("no", "detail", "orders/1", "scripted")
    sink.write(changes(1), Deadline.after(1))
    assert len(letters.kept) == 1


def test_a_held_batch_does_not_store_its_letters_at_each_attempt() -> None:
    letters, clock = Letters(), Clock()
    start = datetime(2026, 1, 15, tzinfo=UTC)
    sink = DeadLettering(
        ScriptedSink(lambda _: Rejected(Cause("no"))), letters, lambda: start + timedelta(0, clock.now)
    )
    for _ in range(50):
        assert sink.write(changes(1), Deadline.after(1)) == [Rejected(Cause("no"), kept=True)]
    assert letters.stored == 1
    clock.sleep(600)
    sink.write(changes(1), Deadline.after(1))
    assert letters.stored == 2


@pytest.mark.parametrize("store", [None, Letters(failing=True)], ids=["no store", "store fails"])
def test_a_rejected_change_that_is_not_kept_is_not_settled(store: Letters | None) -> None:
    sink = DeadLettering(ScriptedSink(lambda _: Rejected(Cause("no"))), store)
    (outcome,) = sink.write(changes(1), Deadline.after(1))
    assert isinstance(outcome, Deferred)


def test_the_archive_takes_the_prefix_that_the_others_settled() -> None:
    archive = ScriptedSink(lambda _: Applied(), "archive")
    index = ScriptedSink(lambda one: Deferred(Cause("busy")) if one.keys["pk"] == "k2" else Applied())
    outcomes = Fanout((index,), archive).write(changes(4), Deadline.after(1))
    assert [one.keys["pk"] for one in archive.written] == ["k0", "k1"]
    assert [type(outcome) for outcome in outcomes] == [Applied, Applied, Deferred, Deferred]


def test_the_worst_outcome_of_several_counts() -> None:
    order: list[Outcome] = [
        Skipped(),
        Superseded(),
        Applied(),
        Rejected(Cause("x"), kept=True),
        Rejected(Cause("x")),
        Deferred(Cause("y")),
    ]
    for position, outcome in enumerate(order):
        assert worst(order[: position + 1]) == outcome
    assert worst([]) == Skipped("no document takes it")


def test_an_unreadable_record_is_kept_and_the_others_go_on() -> None:
    letters, sink = Letters(), MemorySink()
    bad = stream_record({"pk": "a"}, None, {}, sequence=2)
    bad["eventName"] = "?"
    records = read_lambda({"Records": [stream_record({"pk": "b"}, None, {}), bad]})
    progress = Pipeline(sink, letters).process(records, Deadline.after(1))
    assert (progress.settled, progress.resume_at) == (2, None)
    (letter,) = letters.kept.values()
    assert letter.record == bad


def test_a_batch_without_a_sequence_number_to_resume_at_comes_again_whole() -> None:
    bad = stream_record({"pk": "a"}, None, {})
    del bad["dynamodb"]["SequenceNumber"]
    with pytest.raises(SinkUnavailable, match="no sequence number"):
        Pipeline(MemorySink(), None).process(read_lambda({"Records": [bad]}), Deadline.after(1))


def test_a_failed_flush_acknowledges_nothing() -> None:
    class Unflushable(MemorySink):
        def flush(self, deadline: Deadline) -> None:
            raise SinkUnavailable("memory", "gone")

    progress = Pipeline(Unflushable(), None).process(changes(3), Deadline.after(1))
    assert progress.settled == 0
    assert str(progress.resume_at) == "1"


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def test_a_handler_of_ones_own_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def notify(one: Change) -> None:
        if one.keys["pk"] == "later":
            raise Defer(60)
        seen.append(f"{one.operation} {one.keys['pk']}")

    monkeypatch.setenv("CDC_MAPPINGS", "none")
    handler = handler_for(on_insert=notify)
    records = [stream_record({"pk": pk}, None, {}, sequence=n) for n, pk in enumerate(["a", "later", "b"], 1)]
    assert handler({"Records": records}, Context()) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert seen == ["INSERT a"]
    assert handler({"Records": records[:1]}, Context()) == {"batchItemFailures": []}
    assert handler({"Records": []}, Context()) == {"batchItemFailures": []}


@pytest.mark.parametrize("mappings", ["nowhere", "tests"], ids=["no such folder", "a folder without mappings"])
def test_wrong_mappings_fail_the_invocation_also_beside_functions(
    monkeypatch: pytest.MonkeyPatch, mappings: str
) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", mappings)
    handler = handler_for(on_insert=lambda _one: None)
    with pytest.raises(ConfigError, match=mappings if mappings == "nowhere" else "no mapping file"):
        handler({"Records": [stream_record({"pk": "a"}, None, {})]}, Context())


def test_two_globs_for_one_table_fail_the_invocation_also_beside_functions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a.yml").write_text("table: 'sh*'")
    (tmp_path / "b.yml").write_text("table: '*op'")
    monkeypatch.setenv("CDC_MAPPINGS", str(tmp_path))
    handler = handler_for(on_insert=lambda _one: None)
    with pytest.raises(ConfigError, match="both fit the table 'shop'"):
        handler({"Records": [stream_record({"pk": "a"}, None, {})]}, Context())


def test_a_function_without_time_is_a_mistake_of_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    monkeypatch.setenv("CDC_DEADLINE_MARGIN_SECONDS", "10")
    with pytest.raises(ConfigError, match="nothing could ever be done"):
        handler_for()({"Records": []}, Context())


def test_a_write_that_hangs_to_its_end_leaves_time_to_flush_the_prefix() -> None:
    clock = Clock()

    class Hanging(MemorySink):
        def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
            clock.now = deadline.at
            return [Applied(), Deferred(Cause("timeout"))]

        def flush(self, deadline: Deadline) -> None:
            assert not deadline.expired

    progress = Pipeline(Hanging(), None).process(changes(2), Deadline.after(30, clock=clock))
    assert (progress.settled, str(progress.resume_at)) == (1, "2")


def test_functions_are_tried_three_times_then_rejected_with_the_traceback() -> None:
    def broken(_one: Change) -> None:
        raise ValueError("inside")

    clock, letters = Clock(), Letters()
    sink = DeadLettering(Retrying(FunctionSink(on_insert=broken), sleep=clock.sleep), letters)
    first, second = sink.write(changes(2), Deadline.after(60, clock=clock))
    assert isinstance(first, Rejected)
    assert first.cause.text.endswith("raised ValueError")
    assert "inside" in first.detail
    assert isinstance(second, Rejected)
    assert len(letters.kept) == 2
    assert len(clock.slept) == 4


def test_nothing_after_a_deferred_change_is_run() -> None:
    ran: list[Any] = []

    def function(one: Change) -> None:
        ran.append(one.keys["pk"])
        raise Defer(1) if one.keys["pk"] == "k1" else Reject("no")

    outcomes = FunctionSink(on_insert=function).write(changes(3), Deadline.after(1))
    assert ran == ["k0", "k1"]
    assert [type(outcome) for outcome in outcomes] == [Rejected, Deferred, Deferred]


def test_settings_name_every_fault_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"CDC_BULK_BYTES": "many", "CDC_ARCHIV_BUCKET": "x", "CDC_KCL_PROFILE": "fast", "OTHER": "y"})
    assert "CDC_BULK_BYTES" in caught.value.message
    assert "CDC_ARCHIV_BUCKET: unknown setting; did you mean CDC_ARCHIVE_BUCKET?" in caught.value.message
    assert "CDC_KCL_PROFILE" in caught.value.message


def test_every_setting_has_a_meaning() -> None:
    assert all(setting["meaning"].endswith((".", "'.")) for setting in describe())


def test_settings_are_typed() -> None:
    settings = load_settings({"CDC_BULK_COUNT": "7", "CDC_OPENSEARCH_VERIFY": "false", "CDC_FLUSH_SECONDS": "1.5"})
    assert (settings.bulk_count, settings.opensearch_verify, settings.flush_seconds) == (7, False, 1.5)
