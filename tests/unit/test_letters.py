"""Dead letters: whole, exact, kept at once, announced, selected; without a network."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Outcome, Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import DeadLetter, change_of_letter, letter_of, record_of_letter
from cdc.dead_letters.query import Selection, selected
from cdc.dead_letters.redrive import StillDead
from cdc.dead_letters.s3 import AnnouncedDeadLetters, S3DeadLetters
from cdc.dead_letters.store import DeadLetterStore
from cdc.delivery.dead_lettering import DeadLettering
from cdc.delivery.pipeline import Pipeline
from cdc.records.change import StreamView
from cdc.records.decoding import Unreadable, read_adapter, read_kinesis, read_lambda
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import STREAM_ARN, MemorySink, ScriptedSink, change, stream_record
from tests.events import payload
from tests.redriving import KEY, NOW, Here, Items, Letters, redriven, redriver


def binary(pk: bytes = b"\x00\xff") -> Change:
    return change({"pk": pk}, {"raw": b"\x01"}, {"raw": b"\x02"}, sequence=7 * 10**20)


@pytest.mark.parametrize(
    "one",
    [
        change(KEY, None, {"n": 1}),
        change(KEY, {"n": 1}, None, expired=True),
        change(KEY, {"n": 1}, {"n": 12345678901234567890123456789012345678}, view=StreamView.KEYS_ONLY),
        binary(),
        *(record for record in read_lambda(payload("lambda-dynamodb"))),
        *(record for record in read_lambda(payload("lambda-kinesis"))),
        read_adapter(json.dumps(payload("kcl-record")).encode(), Stream.dynamodb(STREAM_ARN)),
        read_kinesis(
            json.dumps(payload("kinesis-record")).encode(),
            "arn:aws:kinesis:eu-west-1:111122223333:stream/shop",
            SequenceNumber.parse("4" * 56, 56),
        ),
    ],
)
def test_a_letter_holds_enough_to_make_its_change_again(one: Change) -> None:
    letter = DeadLetter.from_json(letter_of(one, Rejected(Cause("no")), "opensearch", NOW).to_json())
    again = change_of_letter(letter)
    assert again == one
    assert (again.identity, again.version, again.wire, again.redriven) == (one.identity, one.version, one.wire, True)
    assert again.record == one.record


def test_a_record_that_boto3_gave_is_kept_as_lambda_would_have_delivered_it() -> None:
    record = stream_record(KEY, None, {"n": 1})
    record["dynamodb"]["ApproximateCreationDateTime"] = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    record["dynamodb"]["NewImage"]["raw"] = {"B": b"\x00\xff"}
    (one,) = read_lambda({"Records": [record]})
    again = change_of_letter(DeadLetter.from_json(letter_of(one, Rejected(Cause("no")), "opensearch", NOW).to_json()))
    assert isinstance(one, Change)
    assert (again.created_micros, again.after) == (one.created_micros, one.after)


@pytest.mark.parametrize(
    "record",
    [
        read_adapter(b"\x00\xff no JSON", Stream.dynamodb(STREAM_ARN)),
        read_adapter(b'{"eventName": "?"}', Stream.dynamodb(STREAM_ARN)),
        read_kinesis(b"\xfe", "arn:aws:kinesis:eu-west-1:1:stream/s", SequenceNumber.parse("4" * 56, 56)),
        read_lambda({"Records": [{**stream_record(KEY, None, {}), "eventName": 10**30}]})[0],
        read_lambda({"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": "?", "sequenceNumber": "1"}}]})[0],
        read_lambda({"Records": [{**stream_record(KEY, None, {}), "eventName": "\ud800"}]})[0],
    ],
    ids=["adapter, no JSON", "adapter", "kinesis", "a number of 100 bits", "lambda kinesis", "a lone surrogate"],
)
def test_an_unreadable_record_is_kept_whole_whatever_it_is(record: Any) -> None:
    assert isinstance(record, Unreadable)
    letter = DeadLetter.from_json(letter_of(record, Rejected(Cause("no")), "source", NOW).to_json())
    if isinstance(record.record, bytes):
        assert (letter.encoding, letter.payload) == ("base64", record.record)
    else:
        assert (letter.encoding, letter.record) == ("json", record.record)
    again = record_of_letter(letter)
    assert isinstance(again, Unreadable)
    assert again.error.message == record.error.message


def test_a_letter_of_an_earlier_release_is_read() -> None:
    one = change(KEY, None, {"n": 1})
    old = json.loads(letter_of(one, Rejected(Cause("no")), "opensearch", NOW).to_json())
    old.pop("sequence")
    assert change_of_letter(DeadLetter.from_json(json.dumps(old).encode())) == one


# keeping


def test_many_letters_are_stored_at_once_and_the_order_of_outcomes_is_kept() -> None:
    import threading

    together = threading.Barrier(8, timeout=30)

    class Slow(Letters):
        def keep(self, letter: DeadLetter) -> None:
            together.wait()  # breaks unless eight are stored at once
            super().keep(letter)

    def answer(one: Change) -> Outcome:
        return Applied() if one.sequence.value % 2 else Rejected(Cause(f"no {one.sequence}"))

    letters = Slow()
    changes = [change({"pk": f"k{n}"}, None, {}, sequence=n + 1) for n in range(32)]
    outcomes = DeadLettering(ScriptedSink(answer), letters).write(changes, Deadline.after(60))
    assert [str(getattr(outcome, "cause", "")) for outcome in outcomes] == [
        "" if n % 2 else f"no {n}" for n in range(1, 33)
    ]
    assert len(letters.kept) == 16


def test_every_document_that_was_rejected_has_a_letter() -> None:
    letters = Letters()
    both = Rejected(Cause("no"), document="a/1", others=(Rejected(Cause("no"), document="b/1"),))
    DeadLettering(ScriptedSink(lambda _: both), letters).write([change(KEY, None, {})], Deadline.after(1))
    assert sorted(one.document for _, one in selected(letters, Selection())) == ["a/1", "b/1"]


def test_a_shard_of_nothing_but_poison_is_kept_whole() -> None:
    letters, sink = Letters(), MemorySink()
    poison = [{**stream_record({"pk": f"k{n}"}, None, {}, sequence=n + 1), "eventName": "?"} for n in range(200)]
    progress = Pipeline(sink, letters).process(read_lambda({"Records": poison}), Deadline.after(60))
    assert (progress.settled, progress.resume_at, len(letters.kept)) == (200, None, 200)


class Client:
    """SQS and S3 in memory, as far as letters ask for them."""

    def __init__(self, failing: bool = False) -> None:
        self.sent: list[dict[str, Any]] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.failing = failing

    def put_object(self, **request: Any) -> None:
        self.objects[request["Key"]] = request

    def send_message(self, **request: Any) -> None:
        if self.failing:
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="http://queue")
        self.sent.append(request)


def announcing(client: Any) -> DeadLetterStore:
    return AnnouncedDeadLetters(S3DeadLetters(client, "bucket", kms_key="key-1"), client, "http://queue/q")


def test_an_announcement_points_to_the_letter_and_holds_nothing_of_the_item() -> None:
    client = Client()
    letter = letter_of(change({"pk": "secret"}, None, {"n": "x" * 1_000_000}), Rejected(Cause("no")), "opensearch", NOW)
    announcing(client).keep(letter)
    ((key, stored),) = client.objects.items()
    (message,) = client.sent
    body = json.loads(message["MessageBody"])
    assert (body["bucket"], body["key"], body["sink"], body["table"]) == ("bucket", key, "opensearch", "shop")
    assert (body["identity"], body["reason"]) == (letter.identity, "no")
    assert "secret" not in message["MessageBody"]
    assert len(message["MessageBody"]) < 2000
    assert (stored["ServerSideEncryption"], stored["SSEKMSKeyId"]) == ("aws:kms", "key-1")


def test_a_failed_announcement_is_a_warning_and_the_letter_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    client = Client(failing=True)
    announcing(client).keep(letter_of(change(KEY, None, {}), Rejected(Cause("no")), "opensearch", NOW))
    assert len(client.objects) == 1
    assert "could not be announced" in caplog.text


# selection


def test_letters_are_selected_by_what_they_are_about() -> None:
    letters = Letters()
    for n, (sink, document, reason) in enumerate(
        [("opensearch", "orders/1", "400 mapper_parsing"), ("opensearch", "audit/1", "no"), ("function", "", "no")]
    ):
        rejected = Rejected(Cause(reason), document=document)
        letters.keep(letter_of(change(KEY, None, {}, sequence=n + 1), rejected, sink, NOW.replace(hour=n)))

    def found(**facts: Any) -> list[str]:
        return [one.kept_at[11:13] for _, one in selected(letters, Selection(**facts))]

    assert found() == ["00", "01", "02"]
    assert found(table="shop") == ["00", "01", "02"]
    assert found(table="other") == []
    assert found(sink="function") == ["02"]
    assert found(document="orders") == found(document="orders/1") == ["00"]
    assert found(reason="MAPPER") == ["00"]
    assert found(since=NOW.replace(hour=1), until=NOW.replace(hour=2)) == ["01"]


def test_what_is_no_letter_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    letters = Letters()
    letters.keep(letter_of(change(KEY, None, {}), Rejected(Cause("no")), "function", NOW))
    letters.kept["table=shop/junk.json"] = b"junk"
    assert len(list(selected(letters, Selection()))) == 1
    assert "table=shop/junk.json is left out" in caplog.text
    (result,) = redriven(redriver(Here(), Items(), letters), "table=shop/junk.json")
    assert isinstance(result, StillDead)


def test_letters_of_a_stream_come_by_sequence_number() -> None:
    letters = Letters()
    for n in (10, 9, 100, 1):
        letters.keep(letter_of(change(KEY, None, {}, sequence=n), Rejected(Cause("no")), "function", NOW))
    assert [one.sequence for _, one in selected(letters, Selection())] == ["1", "9", "10", "100"]
