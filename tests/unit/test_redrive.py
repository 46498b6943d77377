"""Redrive without a network: what is written of a letter, and which letters stay."""

from __future__ import annotations

import json
import logging

import pytest

from cdc import Applied, Change, Deadline, Outcome, Rejected, Superseded
from cdc.causes import Cause
from cdc.dead_letters.letter import letter_of, letter_of_lost_records
from cdc.dead_letters.query import Selection, selected
from cdc.dead_letters.redrive import Redriven, StillDead
from cdc.errors import MalformedRecord, SinkUnavailable
from cdc.records.attributes import encode_item
from cdc.records.decoding import Unreadable, read_lambda
from cdc.records.identity import keys_digest
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.sinks.functions import FunctionSink
from cdc.testing import STREAM_ARN, ScriptedSink, change, stream_record
from tests.redriving import KEY, NOW, Here, Items, Letters, Writes, kept, redriven, redriver


def test_the_index_gets_what_stands_in_the_table_at_the_letters_version() -> None:
    letters, items, here = Letters(), Items(), Here()
    one = change(KEY, {"n": 1}, {"n": 2}, sequence=5 * 10**20)
    key = kept(letters, one)
    items.put(KEY, n=9, raw=b"\x00")
    assert redriven(redriver(here, items, letters), key) == [Redriven()]
    (write,) = here.sink.written
    assert (write.index, write.id, write.version) == ("orders", "a", one.version)
    assert json.loads(write.source) == {"pk": "a", "n": 9, "raw": "AA=="}
    assert letters.kept == {}


def test_an_item_that_is_gone_is_removed_whatever_the_letter_shows() -> None:
    letters, here = Letters(), Here()
    one = change(KEY, {"n": 1}, {"n": 2}, sequence=5 * 10**20)
    assert redriven(redriver(here, Items(), letters), kept(letters, one)) == [Redriven()]
    (write,) = here.sink.written
    assert (type(write).__name__, write.index, write.version) == ("Delete", "orders", one.version)


@pytest.mark.parametrize(
    ("rule", "expired", "expected"),
    [
        ("on_remove: delete, on_expiry: keep", False, ["Delete"]),
        ("on_remove: delete, on_expiry: keep", True, []),
        ("on_remove: keep", False, []),
        ("on_remove: keep, on_expiry: delete", True, ["Delete"]),
        ("on_remove: tombstone", False, ["Put"]),
    ],
)
def test_a_removal_is_as_on_remove_and_on_expiry_say(rule: str, expired: bool, expected: list[str]) -> None:
    letters, here = Letters(), Here(f"table: shop\ndocuments: [{{index: orders, {rule}}}]")
    key = kept(letters, change(KEY, {"n": 1}, None, expired=expired))
    redriven(redriver(here, Items(), letters), key)
    assert [type(write).__name__ for write in here.sink.written] == expected


def test_an_item_that_left_the_document_is_removed_from_it() -> None:
    letters, items = Letters(), Items()
    here = Here("table: shop\ndocuments: [{index: orders, where: {n: [1]}}]")
    key = kept(letters, change(KEY, None, {"n": 1}))
    items.put(KEY, n=2)
    redriven(redriver(here, items, letters), key)
    assert [type(write).__name__ for write in here.sink.written] == ["Delete"]


def test_unless_only_does_not_hold_a_redrive_back() -> None:
    letters, items = Letters(), Items()
    here = Here("table: shop\ndocuments: [{index: orders, unless_only: [n]}]")
    items.put(KEY, n=2)
    redriven(redriver(here, items, letters), kept(letters, change(KEY, {"n": 1}, {"n": 2})))
    assert len(here.sink.written) == 1


def test_what_was_deferred_for_too_long_is_redriven_as_any_other() -> None:
    letters, items, here = Letters(), Items(), Here()
    items.put(KEY, n=2)
    letter = letter_of(change(KEY, None, {"n": 1}), Rejected(Cause("deferred_too_long: 503")), "opensearch", NOW)
    letters.keep(letter)
    assert redriven(redriver(here, items, letters), letter.name) == [Redriven()]
    assert [write.index for write in here.sink.written] == ["orders", "audit"]  # it had reached no document


def test_only_the_letters_own_index_is_touched() -> None:
    letters, items, here = Letters(), Items(), Here()
    items.put(KEY, n=2)
    redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {}), document="audit/a"))
    assert [write.index for write in here.sink.written] == ["audit"]


def test_an_item_that_changes_meanwhile_is_written_again() -> None:
    letters, here = Letters(), Here()
    items = Items(then=lambda: items.put(KEY, n=2))
    items.put(KEY, n=1)
    assert redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {"n": 0}))) == [Redriven()]
    assert [json.loads(write.source)["n"] for write in here.sink.written] == [1, 2]


def test_an_item_that_is_deleted_meanwhile_does_not_come_back() -> None:
    letters, here = Letters(), Here()
    items = Items(then=lambda: items.gone(KEY))
    items.put(KEY, n=1)
    assert redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {"n": 0}))) == [Redriven()]
    assert [type(write).__name__ for write in here.sink.written] == ["Put", "Delete"]


def test_an_item_that_never_rests_stays_a_letter() -> None:
    letters, items, count = Letters(), Items(), iter(range(100))

    def answer(_one: Change) -> Outcome:
        items.put(KEY, n=next(count))
        return Applied()

    key = kept(letters, change(KEY, None, {"n": 0}))
    (result,) = redriven(redriver(Here(sink=Writes(answer)), items, letters), key)
    assert isinstance(result, StillDead)
    assert "try again later" in result.reason
    assert list(letters.kept) == [key]


def test_a_set_in_another_order_is_no_change() -> None:
    letters, here = Letters(), Here()
    digest = keys_digest(encode_item(KEY))
    shown = {**encode_item(KEY), "tags": {"SS": ["a", "b"]}}
    items = Items(then=lambda: items.items.update({digest: {**shown, "tags": {"SS": ["b", "a"]}}}))
    items.items[digest] = shown
    redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {})))
    assert len(here.sink.written) == 1


def test_a_newer_state_in_the_index_settles_the_letter() -> None:
    letters, items = Letters(), Items()
    here = Here(sink=Writes(lambda _: Superseded()))
    items.put(KEY, n=1)
    assert redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {}))) == [Superseded()]
    assert letters.kept == {}


def test_a_change_that_is_rejected_again_stays_with_the_newest_reason() -> None:
    letters, items = Letters(), Items()
    here = Here(sink=Writes(lambda _: Rejected(Cause("worse"), "the value", "orders/a", "shop.yml")))
    items.put(KEY, n=1)
    key = kept(letters, change(KEY, None, {}))
    (result,) = redriven(redriver(here, items, letters), key)
    assert isinstance(result, StillDead)
    assert "worse" in result.reason
    assert "the value" not in result.reason
    letter = letters.read(key)
    assert letter is not None
    assert (letter.reason, letter.detail, letter.attempts) == ("worse", "the value", 2)


def test_a_rejection_is_not_announced_again() -> None:
    letters, items, announced = Letters(), Items(), Letters()
    items.put(KEY, n=1)
    here = Here(sink=Writes(lambda _: Rejected(Cause("no"))))
    redriven(redriver(here, items, letters, dead_letters=announced), kept(letters, change(KEY, None, {})))
    assert announced.kept == {}


def test_a_letter_stays_while_its_write_is_not_durable() -> None:
    class Unflushable(Writes):
        def flush(self, deadline: Deadline) -> None:
            raise SinkUnavailable("opensearch", "gone")

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1
            return self.now

    letters, items = Letters(), Items()
    key = kept(letters, change(KEY, None, {}))
    redriving = redriver(Here(sink=Unflushable()), items, letters)
    ((_, result),) = redriving.redrive([key], Deadline.after(60, clock=Clock()))
    assert isinstance(result, StillDead)
    assert list(letters.kept) == [key]


def test_a_table_out_of_reach_keeps_the_letter() -> None:
    letters, items, here = Letters(), Items(), Here()
    items.down = True
    (result,) = redriven(redriver(here, items, letters), kept(letters, change(KEY, None, {})))
    assert isinstance(result, StillDead)
    assert here.sink.written == []
    assert len(letters.kept) == 1


def test_from_letter_writes_the_letters_own_image_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    letters, items, here = Letters(), Items(), Here()
    items.down = True
    key = kept(letters, change(KEY, {"n": 1}, {"n": 2}))
    with caplog.at_level(logging.WARNING):
        assert redriven(redriver(here, items, letters, from_letter=True), key) == [Redriven()]
    assert [json.loads(write.source)["n"] for write in here.sink.written] == [2]
    assert "may come back" in caplog.text


def test_from_letter_still_prefers_the_table() -> None:
    letters, items, here = Letters(), Items(), Here()
    items.put(KEY, n=9)
    redriven(redriver(here, items, letters, from_letter=True), kept(letters, change(KEY, None, {"n": 2})))
    assert [json.loads(write.source)["n"] for write in here.sink.written] == [9]


def test_the_table_of_another_account_is_never_read_for_it() -> None:
    letters, items, here = Letters(), Items(), Here()

    def another(_stream: Stream) -> None:
        raise SinkUnavailable("table", "the stream is another's")

    (result,) = redriven(redriver(here, items, letters, check=another), kept(letters, change(KEY, None, {})))
    assert isinstance(result, StillDead)
    assert (items.reads, here.sink.written) == (0, [])


@pytest.mark.parametrize(
    ("document", "arn", "message"),
    [
        ("gone/a", STREAM_ARN, "no document of shop.yml goes to the index 'gone' any more"),
        ("orders/a", STREAM_ARN.replace("table/shop", "table/other"), "no mapping names the table 'other'"),
    ],
)
def test_a_letter_that_no_mapping_names_any_more_stays_with_a_clear_reason(
    document: str, arn: str, message: str
) -> None:
    letters = Letters()
    key = kept(letters, change(KEY, None, {}, stream_arn=arn), document=document)
    (result,) = redriven(redriver(Here(), Items(), letters), key)
    assert isinstance(result, StillDead)
    assert message in result.reason
    assert list(letters.kept) == [key]


def test_a_letter_of_an_index_of_a_mapping_without_any_stays() -> None:
    letters, here = Letters(), Here("table: shop")
    (result,) = redriven(redriver(here, Items(), letters), kept(letters, change(KEY, None, {}), document=""))
    assert isinstance(result, StillDead)
    assert "the mapping names none" in result.reason


def test_letters_of_one_index_are_written_together_and_each_is_settled_for_itself() -> None:
    letters, items = Letters(), Items()
    here = Here(sink=Writes(lambda one: Rejected(Cause("no")) if one.keys["pk"] == "k1" else Applied()))
    keys = [kept(letters, change({"pk": f"k{n}"}, None, {}, sequence=n + 1)) for n in range(3)]
    kinds = [type(result) for result in redriven(redriver(here, items, letters), *keys)]
    assert kinds == [Redriven, StillDead, Redriven]
    assert items.reads == 2
    assert list(letters.kept) == [keys[1]]


def test_a_letter_that_is_gone_already_is_done_with() -> None:
    assert redriven(redriver(Here(), Items(), Letters()), "table=shop/none.json") == [Superseded(explained=True)]


# functions, the archive, unreadable records


def test_a_function_gets_the_letters_own_change_marked_as_redriven() -> None:
    seen: list[Change] = []
    letters, here = Letters(), Here(functions=FunctionSink(on_modify=seen.append))
    one = change(KEY, {"n": 1}, {"n": 2})
    assert redriven(redriver(here, Items(), letters), kept(letters, one, "function", "")) == [Redriven()]
    assert (seen, seen[0].redriven, seen[0].before) == ([one], True, {"pk": "a", "n": 1})
    assert here.sink.written == []


@pytest.mark.parametrize("functions", [None, FunctionSink(on_insert=print)], ids=["no functions", "none for it"])
def test_a_letter_of_a_function_that_is_not_here_stays(functions: Sink | None) -> None:
    letters, here = Letters(), Here(functions=functions)
    (result,) = redriven(redriver(here, Items(), letters), kept(letters, change(KEY, {}, {}), "function", ""))
    assert isinstance(result, StillDead)
    assert len(letters.kept) == 1


def test_a_letter_of_the_archive_is_archived() -> None:
    letters, here = Letters(), Here(archived=ScriptedSink(lambda _: Applied(), "archive"))
    one = change(KEY, {}, {"n": 1})
    assert redriven(redriver(here, Items(), letters), kept(letters, one, "archive", "")) == [Redriven()]
    assert here.archived is not None
    assert (here.archived.written, here.archived.flushes, here.sink.written) == ([one], 1, [])


def test_a_record_that_is_readable_by_now_goes_to_every_sink_the_archive_first() -> None:
    seen: list[Change] = []
    letters, items = Letters(), Items()
    order: list[str] = []

    def archive(_one: Change) -> Outcome:
        order.append("archive")
        return Applied()

    def index(_one: Change) -> Outcome:
        order.append("index")
        return Applied()

    here = Here(
        sink=Writes(index), archived=ScriptedSink(archive, "archive"), functions=FunctionSink(on_insert=seen.append)
    )
    items.put(KEY, n=7)
    good = stream_record(KEY, None, {"n": 1})
    unreadable = read_lambda({"Records": [{**good, "eventName": "?"}]})[0]
    letter = letter_of(unreadable, Rejected(Cause("no")), "source", NOW)
    key = letter.name
    letters.kept[key] = letter.to_json().replace(b'"?"', b'"INSERT"')  # as if a later release could read it
    assert redriven(redriver(here, items, letters), key) == [Redriven()]
    assert order == ["archive", "index"]
    assert [json.loads(write.source)["n"] for write in here.sink.written] == [7, 7]
    assert [(one.after, one.redriven) for one in seen] == [({"pk": "a", "n": 1}, True)]


def test_what_a_sink_rejects_of_a_readable_record_becomes_a_letter_of_its_own() -> None:
    letters = Letters()
    here = Here(sink=Writes(lambda _: Rejected(Cause("no"), document="orders/a")))
    letter = letter_of(change(KEY, None, {}), Rejected(Cause("no")), "source", NOW)
    letters.keep(letter)
    assert redriven(redriver(here, Items(), letters), letter.name) == [Redriven()]
    assert [one.sink for _, one in selected(letters, Selection())] == ["opensearch"]


def test_a_record_that_is_still_unreadable_stays() -> None:
    letters = Letters()
    unreadable = read_lambda({"Records": [{**stream_record(KEY, None, {}), "eventName": "?"}]})[0]
    letter = letter_of(unreadable, Rejected(Cause("no")), "source", NOW)
    letters.keep(letter)
    (result,) = redriven(redriver(Here(), Items(), letters), letter.name)
    assert isinstance(result, StillDead)
    assert "can't be read" in result.reason


def test_a_gap_s_letter_stays_and_says_what_to_do() -> None:
    letters = Letters()
    letter = letter_of_lost_records(
        identity="gap/1", stream="arn", table="shop", reason="gap: trimmed", detail="", about={"after": "7"}, now=NOW
    )
    letters.keep(letter)
    (result,) = redriven(redriver(Here(), Items(), letters), letter.name)
    assert isinstance(result, StillDead)
    assert "there is nothing to redrive: fill the index from the table, then discard the letter" in result.reason
    assert list(letters.keys()) == [letter.name]


def test_a_letter_of_a_record_without_a_time_is_redriven() -> None:
    letters, items = Letters(), Items()
    items.put(KEY, n=2)
    record = stream_record(KEY, None, {"n": 1})
    del record["dynamodb"]["ApproximateCreationDateTime"]
    unreadable = Unreadable(record, MalformedRecord("is no time"), None, "shop")
    letter = letter_of(unreadable, Rejected(Cause("no")), "source", NOW)
    letters.keep(letter)
    here = Here(sink=Writes())
    assert redriven(redriver(here, items, letters), letter.name) == [Redriven()]


@pytest.mark.parametrize("document", ["orders-v1/a", "orders-v2/a", "orders-v17/a"])
def test_a_letter_of_a_member_goes_to_the_members_of_today(document: str) -> None:
    letters, items, here = Letters(), Items(), Here()
    items.put(KEY, n=9)
    key = kept(letters, change(KEY, {"n": 1}, {"n": 2}), document=document)
    assert redriven(redriver(here, items, letters), key) == [Redriven()]
    assert [write.index for write in here.sink.written] == ["orders"]


def test_a_selection_by_the_name_in_the_mapping_has_the_letters_of_its_members() -> None:
    letters = Letters()
    kept(letters, change(KEY, {"n": 1}, {"n": 2}), document="orders-v2/a")
    assert len(list(selected(letters, Selection(document="orders")))) == 1
    assert len(list(selected(letters, Selection(document="orders-v2")))) == 1
    assert not list(selected(letters, Selection(document="orders-v1")))
