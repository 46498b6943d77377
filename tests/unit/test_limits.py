"""Wrappers of a sink: the breaker, the age limit, the alarm on conflicts, the item read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Deferred, Outcome, Rejected, Skipped, Superseded
from cdc.causes import Cause, CauseKind
from cdc.delivery.age_limit import AgeLimit
from cdc.delivery.breaker import Breaker
from cdc.delivery.conflict_alarm import ConflictAlarm
from cdc.delivery.missing_image import ReadMissingImage
from cdc.errors import SinkUnavailable
from cdc.records.attributes import RawItem, encode_item
from cdc.records.change import Operation, StreamView
from cdc.testing import MemorySink, ScriptedSink, SimulatedClock, change

CREATED = 1768469400.0
REFUSED = Rejected(Cause("OpenSearch: 400 mapper_parsing_exception"))


def changes(count: int, **facts: Any) -> list[Change]:
    return [change({"pk": f"k{number}"}, None, {"n": number}, sequence=number + 1, **facts) for number in range(count)]


def kinds(outcomes: Sequence[Outcome]) -> list[type[Outcome]]:
    return [type(outcome) for outcome in outcomes]


def scripted(answer: Callable[[int], Outcome]) -> ScriptedSink:
    return ScriptedSink(lambda one: answer(int(one.keys["pk"][1:])))


def test_sixty_items_of_one_odd_shape_hold_nothing_though_they_fill_a_batch() -> None:
    breaker = Breaker(scripted(lambda number: REFUSED if 20 <= number < 80 else Applied()))
    for part in (slice(0, 20), slice(20, 80), slice(80, 90)):
        assert Deferred not in kinds(breaker.write(changes(90)[part], Deadline.after(1)))


def test_a_batch_rejected_for_several_causes_is_no_mass() -> None:
    breaker = Breaker(scripted(lambda number: REFUSED if number % 2 else Rejected(Cause("another"))))
    assert kinds(breaker.write(changes(240), Deadline.after(1))) == [Rejected] * 240


def test_a_hundred_rejections_in_a_row_are_held_however_they_are_cut() -> None:
    breaker = Breaker(scripted(lambda _: REFUSED))
    outcomes = [outcome for one in changes(120) for outcome in breaker.write([one], Deadline.after(1))]
    assert kinds(outcomes) == [Rejected] * 99 + [Deferred] * 21


def test_a_change_that_is_accepted_ends_the_run() -> None:
    breaker = Breaker(scripted(lambda number: Applied() if number == 90 else REFUSED))
    outcomes = [outcome for one in changes(180) for outcome in breaker.write([one], Deadline.after(1))]
    assert Deferred not in kinds(outcomes)


def test_what_is_skipped_counts_neither_way() -> None:
    breaker = Breaker(scripted(lambda number: Skipped() if number % 2 else REFUSED), in_a_row=10)
    assert kinds(breaker.write(changes(40), Deadline.after(1))) == [Rejected, Skipped] * 9 + [Deferred, Skipped] * 11


def test_a_held_shard_goes_on_once_the_cause_is_mended(caplog: pytest.LogCaptureFixture) -> None:
    mended: list[bool] = []
    breaker = Breaker(scripted(lambda _: Applied() if mended else REFUSED), in_a_row=20)
    assert kinds(breaker.write(changes(30), Deadline.after(1))) == [Rejected] * 19 + [Deferred] * 11
    assert kinds(breaker.write(changes(30), Deadline.after(1))) == [Deferred] * 30
    mended.append(True)
    assert breaker.write(changes(30), Deadline.after(1)) == [Applied()] * 30
    assert sum("on_mass_reject" in record.message for record in caplog.records) == 1


def test_what_is_held_says_index_field_types_how_many_and_what_shows_one(caplog: pytest.LogCaptureFixture) -> None:
    refused = Rejected(
        Cause("OpenSearch: 400 mapper_parsing_exception"),
        document="orders/k1",
        problem="field total: the item's value is no long",
    )
    (outcome,) = Breaker(scripted(lambda _: refused), in_a_row=1).write(changes(1), Deadline.after(1))
    assert isinstance(outcome, Deferred)
    for told in (outcome.cause.text, caplog.text):
        assert "1 items in a row, index orders, field total: the item's value is no long" in told
        assert "`cdc dead-letters list --document orders`" in told
        assert "400 mapper_parsing_exception" in told


def test_one_bad_item_is_no_mass_however_often_it_is_written_or_tried() -> None:
    breaker = Breaker(scripted(lambda _: REFUSED))
    hot = [change({"pk": "k1"}, None, {"n": n}, sequence=n + 1) for n in range(30)]
    assert kinds(breaker.write(hot, Deadline.after(1))) == [Rejected] * 30
    for _ in range(200):
        assert breaker.write(hot[:1], Deadline.after(1)) == [REFUSED]


def test_a_mass_of_one_stream_says_nothing_of_another() -> None:
    breaker = Breaker(scripted(lambda _: REFUSED))
    for one in changes(99):
        breaker.write([one], Deadline.after(1))
    other = changes(1, stream_arn="arn:aws:dynamodb:eu-west-1:111122223333:table/other/stream/2026-01-15T09:30:00.123")
    assert breaker.write(other, Deadline.after(1)) == [REFUSED]


def limited(sink: ScriptedSink, clock: SimulatedClock) -> AgeLimit:
    return AgeLimit(sink, max_age_seconds=18 * 3600, tried_seconds=600, clock=clock, now=clock)


def test_what_is_old_and_has_been_tried_for_ten_minutes_is_rejected() -> None:
    clock = SimulatedClock(CREATED + 18 * 3600)
    sink = limited(scripted(lambda _: Deferred(Cause("busy"))), clock)
    assert kinds(sink.write(changes(1), Deadline.after(1))) == [Deferred]
    clock.sleep(599)
    assert kinds(sink.write(changes(1), Deadline.after(1))) == [Deferred]
    clock.sleep(1)
    (outcome,) = sink.write(changes(1), Deadline.after(1))
    assert isinstance(outcome, Rejected)
    assert outcome.cause == Cause("deferred_too_long: busy", CauseKind.DEFERRED_TOO_LONG)


def test_what_is_young_is_deferred_however_long_it_has_been_tried() -> None:
    clock = SimulatedClock(CREATED)
    sink = limited(scripted(lambda _: Deferred(Cause("busy"))), clock)
    for _ in range(17):
        assert kinds(sink.write(changes(1), Deadline.after(1))) == [Deferred]
        clock.sleep(3600)


def test_a_passing_fault_does_not_spill_old_records() -> None:
    clock = SimulatedClock(CREATED + 20 * 3600)
    answers: Iterator[Outcome] = iter([Deferred(Cause("busy")), Applied(), Deferred(Cause("busy"))])
    sink = limited(scripted(lambda _: next(answers)), clock)
    for expected in (Deferred, Applied, Deferred):
        assert kinds(sink.write(changes(1), Deadline.after(1))) == [expected]
        clock.sleep(601)


def test_a_long_outage_spills_as_fast_as_records_come_once_it_has_lasted() -> None:
    """Ten minutes for each batch would be too slow: the stream would forget the rest."""
    clock = SimulatedClock(CREATED + 19 * 3600)
    sink = limited(scripted(lambda _: Deferred(Cause("busy"))), clock)
    first, *others = (changes(100) for _ in range(20))
    sink.write(first, Deadline.after(1))
    clock.sleep(600)
    assert kinds(sink.write(first, Deadline.after(1))) == [Rejected] * 100
    for batch in others:
        assert kinds(sink.write(batch, Deadline.after(1))) == [Rejected] * 100
        clock.sleep(1)


def test_a_cause_that_has_passed_does_not_spill_the_next_time() -> None:
    clock = SimulatedClock(CREATED + 19 * 3600)
    answers: Iterator[Outcome] = iter(
        [Deferred(Cause("busy")), Deferred(Cause("busy")), Applied(), Deferred(Cause("busy"))]
    )
    sink = limited(scripted(lambda _: next(answers)), clock)
    for expected in (Deferred, Deferred, Applied, Deferred):
        assert kinds(sink.write(changes(1), Deadline.after(1))) == [expected]
        clock.sleep(250)


def test_a_change_behind_a_deferred_one_is_not_rejected_untried() -> None:
    clock = SimulatedClock(CREATED + 20 * 3600)
    sink = limited(
        scripted(lambda number: Deferred(Cause("busy")) if number == 0 else Deferred.untried("behind")), clock
    )
    sink.write(changes(2), Deadline.after(1))
    clock.sleep(601)
    assert kinds(sink.write(changes(2), Deadline.after(1))) == [Rejected, Deferred]


@pytest.mark.parametrize(
    ("started", "outcome", "alarms"),
    [
        (CREATED - 1, Superseded(), 1),
        (CREATED - 1, Superseded(explained=True), 0),
        (CREATED - 1, Applied(), 0),
        (CREATED + 1, Superseded(), 0),
    ],
    ids=["refused by the sink", "coalesced", "applied", "made before the start: a replay"],
)
def test_superseded_changes_that_no_replay_explains_are_an_alarm(started: float, outcome: Outcome, alarms: int) -> None:
    said: list[str] = []
    sink = ConflictAlarm(scripted(lambda _: outcome), started=started, window=50, alarm=said.append)
    sink.write(changes(50), Deadline.after(1))
    assert len(said) == alarms


def test_what_is_delivered_again_is_no_alarm() -> None:
    said: list[str] = []
    answers: Iterator[Outcome] = iter([Applied()] * 40 + [Superseded()] * 200)
    sink = ConflictAlarm(scripted(lambda _: next(answers)), started=CREATED - 1, window=50, alarm=said.append)
    for _ in range(5):
        sink.write(changes(40), Deadline.after(1))
    assert said == []


class Table:
    """Items as they stand now."""

    def __init__(self, items: dict[str, dict[str, Any]], *, failing: bool = False) -> None:
        self.items = items
        self.failing = failing

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        if self.failing:
            raise SinkUnavailable("table", "throttled", wait_seconds=3)
        found = [self.items.get(key["pk"]["S"]) for key in keys]
        return [None if item is None else encode_item(item) for item in found]


@pytest.mark.parametrize("view", [StreamView.KEYS_ONLY, StreamView.OLD_IMAGE])
def test_without_a_new_image_the_item_is_written_as_it_stands_now(view: StreamView) -> None:
    written: list[Any] = []

    def take(one: Change) -> Outcome:
        written.append(one.after)
        return Applied()

    sink = ReadMissingImage(ScriptedSink(take), Table({"k0": {"pk": "k0", "n": 9}}))
    outcomes = sink.write(changes(2, view=view), Deadline.after(1))
    assert written == [{"pk": "k0", "n": 9}]
    assert outcomes == [Applied(), Superseded(explained=True)]


def test_an_item_that_was_modified_and_is_gone_leaves_the_documents_it_had() -> None:
    written: list[Change] = []

    def take(one: Change) -> Outcome:
        written.append(one)
        return Applied()

    modified = change({"pk": "a"}, {"status": "draft"}, {"status": "paid"}, view=StreamView.OLD_IMAGE)
    assert ReadMissingImage(ScriptedSink(take), Table({})).write([modified], Deadline.after(1)) == [Applied()]
    assert [one.operation for one in written] == [Operation.REMOVE]
    assert written[0].version == modified.version
    assert written[0].before == {"pk": "a", "status": "draft"}


def test_a_remove_needs_no_read() -> None:
    sink = ReadMissingImage(MemorySink(), Table({}, failing=True))
    removed = change({"pk": "a"}, {"n": 1}, None, view=StreamView.KEYS_ONLY)
    assert sink.write([removed], Deadline.after(1)) == [Applied()]


def test_what_can_not_be_read_is_deferred_and_the_others_go_on() -> None:
    sink = ReadMissingImage(MemorySink(), Table({}, failing=True))
    removed = change({"pk": "a"}, {"n": 1}, None, view=StreamView.KEYS_ONLY)
    outcomes = sink.write([removed, *changes(1, view=StreamView.KEYS_ONLY)], Deadline.after(1))
    assert outcomes == [Applied(), Deferred(Cause("table: throttled"), 3)]
