"""Lambda's failure records, redriven and read back, without a network."""

from __future__ import annotations

import json
import logging
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Outcome
from cdc.dead_letters.letter import DeadLetter
from cdc.dead_letters.query import Selection, selected
from cdc.dead_letters.redrive import Redriven, StillDead
from cdc.errors import MalformedRecord, SinkUnavailable
from cdc.records.decoding import Record
from cdc.sinks.functions import FunctionSink
from cdc.testing import ScriptedSink, change, stream_record
from consumers.aws_lambda.on_failure import RECORDS_GONE, FailedBatch, ReadBack, read_on_failure, redrive_batch
from consumers.aws_lambda.stream_reader import StreamRangeReader
from tests.events import payload
from tests.redriving import Here, Items, Letters, Writes, redriver

WHOLE, RANGE = payload("onfailure-s3-object"), payload("onfailure-sqs-body")
KINESIS_ARN = "arn:aws:kinesis:eu-west-1:111122223333:stream/shop"


def refused(batch: FailedBatch, deadline: Deadline) -> ReadBack:
    raise AssertionError("nothing is to be read back")


def archive(order: list[str]) -> ScriptedSink:
    def written(_one: Change) -> Outcome:
        order.append("archive")
        return Applied()

    return ScriptedSink(written, "archive")


# the records


@pytest.mark.parametrize("document", [WHOLE, RANGE], ids=["S3", "SQS"])
def test_both_shapes_name_the_batch(document: Any) -> None:
    batch = read_on_failure(document)
    assert (batch.table, batch.size, batch.attempts, batch.is_kinesis) == ("shop", 2, 3, False)
    assert (str(batch.first), str(batch.last)) == ("800000000003126276362", "900000000003126276400")
    assert (batch.payload is not None) == ("payload" in document)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"requestContext": {}},
        {**RANGE, "DDBStreamBatchInfo": {"streamArn": "x"}},
        {**RANGE, "DDBStreamBatchInfo": {**RANGE["DDBStreamBatchInfo"], "startSequenceNumber": "?"}},
        {**WHOLE, "payload": "no JSON"},
    ],
)
def test_what_is_no_failure_record_is_refused(document: Any) -> None:
    with pytest.raises(MalformedRecord):
        read_on_failure(document)


def test_a_whole_invocation_is_archived_as_it_is_and_then_written_from_the_table() -> None:
    order: list[str] = []
    seen: list[Change] = []
    letters, items = Letters(), Items()

    def index(_one: Change) -> Outcome:
        order.append("index")
        return Applied()

    def function(one: Change) -> None:
        order.append("function")
        seen.append(one)

    archived = archive(order)
    here = Here("table: shop\ndocuments: [{index: orders}]", Writes(index), FunctionSink(on_modify=function), archived)
    items.put({"pk": "CUSTOMER#42", "sk": "ORDER#2026-0001"}, total=7)
    result = redrive_batch(read_on_failure(WHOLE), redriver(here, items, letters), refused, Deadline.after(60))
    assert result == Redriven()
    assert order == ["archive", "archive", "index", "index", "function", "function"]
    records = json.loads(WHOLE["payload"])["Records"]
    assert [one.record for one in archived.written] == records
    assert archived.flushes == 1
    assert [json.loads(write.source)["total"] for write in here.sink.written] == [7, 7]
    assert [write.version for write in here.sink.written] == [one.version for one in archived.written]
    assert [(one.record, one.redriven) for one in seen] == [(record, True) for record in records]


def test_nothing_is_written_before_all_is_archived() -> None:
    class Unflushable(ScriptedSink):
        def flush(self, deadline: Deadline) -> None:
            raise SinkUnavailable("archive", "gone", wait_seconds=1000)

    here = Here(archived=Unflushable(lambda _: Applied(), "archive"))
    redriving = redriver(here, Items(), Letters())
    result = redrive_batch(read_on_failure(WHOLE), redriving, refused, Deadline.after(60))
    assert isinstance(result, StillDead)
    assert here.sink.written == []


def test_poison_in_a_failed_batch_becomes_a_letter_and_the_others_go_on() -> None:
    records = [stream_record({"pk": f"k{n}"}, None, {}, sequence=n + 1) for n in range(5)]
    records[2]["eventName"] = "?"
    letters, here = Letters(), Here()
    batch = read_on_failure({**WHOLE, "payload": json.dumps({"Records": records})})
    assert redrive_batch(batch, redriver(here, Items(), letters), refused, Deadline.after(60)) == Redriven()
    (letter,) = [one for _, one in selected(letters, Selection())]
    assert (letter.sink, letter.record) == ("source", records[2])
    assert len({write.id for write in here.sink.written}) == 4


def test_an_invocation_of_more_than_six_megabytes_is_redriven() -> None:
    records = [stream_record({"pk": f"k{n}"}, None, {"text": "x" * 390_000}, sequence=n + 1) for n in range(20)]
    records[7]["dynamodb"]["NewImage"]["text"] = {"Z": "y" * 390_000}
    text = json.dumps({**WHOLE, "payload": json.dumps({"Records": records})})
    assert len(text) > 6 * 1024 * 1024
    letters, here = Letters(), Here()
    batch = read_on_failure(json.loads(text))
    assert redrive_batch(batch, redriver(here, Items(), letters), refused, Deadline.after(60)) == Redriven()
    assert len(here.sink.changes) == 20


def test_a_range_is_read_back() -> None:
    records = [change({"pk": "a"}, None, {"n": 1}, sequence=8 * 10**20)]
    asked: list[FailedBatch] = []

    def read_back(batch: FailedBatch, deadline: Deadline) -> ReadBack:
        asked.append(batch)
        return ReadBack(records, True)

    order: list[str] = []
    archived = archive(order)
    here = Here(archived=archived)
    batch = read_on_failure(RANGE)
    assert redrive_batch(batch, redriver(here, Items(), Letters()), read_back, Deadline.after(60)) == Redriven()
    assert asked == [batch]
    assert archived.written == records


@pytest.mark.parametrize("left", [0, 1])
def test_records_that_are_gone_are_said_loudly_and_their_range_is_kept(
    left: int, caplog: pytest.LogCaptureFixture
) -> None:
    records: Sequence[Record] = [change({"pk": "a"}, None, {"n": 1}, sequence=9 * 10**20)][:left]
    letters, here = Letters(), Here()
    redriving = redriver(here, Items(), letters)
    result = redrive_batch(
        read_on_failure(RANGE), redriving, lambda _batch, _deadline: ReadBack(records, False), Deadline.after(60)
    )
    assert result == Redriven()
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"{2 - left} of 2 records" in error.getMessage()
    ((key, letter),) = selected(letters, Selection())
    assert (letter.sink, letter.reason, letter.table) == ("stream", RECORDS_GONE, "shop")
    assert letter.record == RANGE["DDBStreamBatchInfo"]
    assert len({one.identity for one in here.sink.changes}) == left
    ((_, again),) = redriving.redrive([key], Deadline.after(1))
    assert isinstance(again, StillDead)
    assert "fill the index from the table" in again.reason
    assert list(letters.kept) == [key]


def test_a_loss_that_cannot_be_recorded_keeps_the_message() -> None:
    class Failing(Letters):
        def keep(self, letter: DeadLetter) -> None:
            raise SinkUnavailable("dead letters", "no bucket")

    redriving = redriver(Here(), Items(), Failing())
    gone = ReadBack((), False)
    result = redrive_batch(read_on_failure(RANGE), redriving, lambda *_: gone, Deadline.after(60))
    assert isinstance(result, StillDead)


# reading back


def client_error(code: str) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code, "Message": "m"}}, "GetRecords")


class FakeStream:
    """A shard that gives these pages; a page may be an error."""

    def __init__(self, *pages: Any, trimmed: bool = False) -> None:
        self.pages = list(pages)
        self.asked: list[dict[str, Any]] = []
        self.trimmed = trimmed

    def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self.trimmed and request["ShardIteratorType"] == "AT_SEQUENCE_NUMBER":
            raise client_error("TrimmedDataAccessException")
        return {"ShardIterator": "0"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> dict[str, Any]:  # noqa: N803  (boto3's names)
        position = int(ShardIterator)
        page = self.pages[position] if position < len(self.pages) else []
        if isinstance(page, Exception):
            raise page
        following = {"NextShardIterator": str(position + 1)} if position + 1 < len(self.pages) else {}
        return {"Records": page, **following}


def as_boto3(number: int) -> dict[str, Any]:
    record = stream_record({"pk": b"\x00"}, None, {"n": number}, sequence=number)
    record["dynamodb"]["ApproximateCreationDateTime"] = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    record["dynamodb"]["Keys"]["pk"] = record["dynamodb"]["NewImage"]["pk"] = {"B": b"\x00"}
    del record["eventSourceARN"]
    return record


def batch_of(first: int, last: int, size: int) -> FailedBatch:
    about = {
        **RANGE["DDBStreamBatchInfo"],
        "startSequenceNumber": str(first),
        "endSequenceNumber": str(last),
        "batchSize": size,
    }
    return read_on_failure({**RANGE, "DDBStreamBatchInfo": about})


def read(stream: FakeStream, batch: FailedBatch) -> tuple[list[int], bool]:
    found = StreamRangeReader(lambda _service, _region: stream)(batch, Deadline.after(60))
    assert all(isinstance(record, Change) for record in found.records)
    return [record.sequence.value for record in found.records if record.sequence], found.complete


def test_the_range_is_read_over_pages_and_no_further() -> None:
    stream = FakeStream([as_boto3(3), as_boto3(4)], [], [as_boto3(5), as_boto3(6)], [as_boto3(7)])
    assert read(stream, batch_of(3, 5, 3)) == ([3, 4, 5], True)
    (asked,) = stream.asked
    assert (asked["ShardIteratorType"], asked["SequenceNumber"]) == ("AT_SEQUENCE_NUMBER", "3")


def test_what_was_trimmed_is_missed_and_the_rest_is_read() -> None:
    assert read(FakeStream([as_boto3(4), as_boto3(5), as_boto3(6)], trimmed=True), batch_of(3, 5, 3)) == (
        [4, 5],
        False,
    )
    assert read(FakeStream([], trimmed=True), batch_of(3, 5, 3)) == ([], False)


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "TrimmedDataAccessException"])
def test_a_stream_that_is_gone_has_nothing_left(code: str) -> None:
    assert read(FakeStream(client_error(code)), batch_of(3, 5, 3)) == ([], False)


def test_a_shard_that_ends_before_the_range_does_is_incomplete() -> None:
    assert read(FakeStream([as_boto3(3)]), batch_of(3, 5, 2)) == ([3], False)


@pytest.mark.parametrize("page", [client_error("ThrottlingException"), client_error("AccessDeniedException")])
def test_what_may_be_there_is_never_taken_for_gone(page: Exception) -> None:
    with pytest.raises(SinkUnavailable):
        read(FakeStream([as_boto3(3)], page), batch_of(3, 5, 3))


def test_a_shard_that_shows_nothing_for_long_is_asked_again_later() -> None:
    with pytest.raises(SinkUnavailable, match="try again later"):
        read(FakeStream(*[[]] * 500), batch_of(3, 5, 3))


def test_a_batch_of_kinesis_is_read_back_in_its_region() -> None:
    number = "49601189658422359378836298521827638475320189012309704722"
    about = {**RANGE["DDBStreamBatchInfo"], "streamArn": KINESIS_ARN, "startSequenceNumber": number}
    document = {**RANGE, "KinesisBatchInfo": {**about, "endSequenceNumber": number, "batchSize": 1}}
    del document["DDBStreamBatchInfo"]
    data = b64decode(payload("lambda-kinesis")["Records"][0]["kinesis"]["data"])
    stream = FakeStream([{"SequenceNumber": number, "Data": data}])
    asked: list[tuple[str, str]] = []

    def client(service: str, region: str) -> Any:
        asked.append((service, region))
        return stream

    found = StreamRangeReader(client)(read_on_failure(document), Deadline.after(60))
    (one,) = found.records
    assert found.complete
    assert isinstance(one, Change)
    assert (one.table, one.stream.arn, str(one.sequence)) == ("shop", KINESIS_ARN, number)
    assert asked == [("kinesis", "eu-west-1")]
    assert stream.asked[0]["StartingSequenceNumber"] == number
