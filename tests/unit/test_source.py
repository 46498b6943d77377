"""A consumer follows a source, and gets each table ready at its first change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from cdc.causes import Cause
from cdc.deadline import Deadline
from cdc.delivery.pipeline import Pipeline
from cdc.delivery.shard import Payload
from cdc.errors import ConfigError, SinkUnavailable
from cdc.outcome import Applied, Deferred
from cdc.records.change import Change, StreamView
from cdc.records.decoding import Record
from cdc.records.reading import RecordReader
from cdc.records.stream import Stream
from cdc.testing import MemorySink
from consumers.kcl.service import Following
from consumers.kcl.sources import kinesis
from consumers.kcl.sources.kinesis import KinesisStream, check_precision, is_trimmed
from consumers.kcl.sources.source import KinesisSource, TableSource
from consumers.kcl.sources.streams import TableFacts
from consumers.settings import load_settings
from tests.events import payload

KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
NUMBER = "49601189658422359378836298521827638475320189012309704721"


def stream(table: str, label: str = "2026-01-01T00:00:00.000") -> Stream:
    return Stream.dynamodb(f"arn:aws:dynamodb:eu-west-1:111122223333:table/{table}/stream/{label}")


def facts(*tables: str) -> tuple[TableFacts, ...]:
    return tuple(TableFacts(name, ("pk",), (stream(name),), StreamView.NEW_AND_OLD_IMAGES) for name in tables)


def kinesis_change(table: str = "shop", number: str = NUMBER) -> Record:
    data = orjson.dumps({**payload("kinesis-record"), "tableName": table})
    source = KinesisSource(KinesisStream(KINESIS, "changes", NOW, 24))
    return source.reader(KINESIS, RecordReader())([Payload(data, number)])[0]


def test_a_record_of_kinesis_has_the_sequence_number_that_the_kcl_gives() -> None:
    record = kinesis_change()
    assert isinstance(record, Change)
    assert (record.sequence.text, record.table, record.stream.arn) == (NUMBER, "shop", KINESIS)


def test_streams_of_several_tables_are_asked_for_again_and_again() -> None:
    known = {"shop": [stream("shop")], "orders": [stream("orders")]}
    source = TableSource(facts("shop", "orders"), (lambda: known["shop"], lambda: known["orders"]))
    assert source.streams() == [stream("shop").arn, stream("orders").arn]
    known["orders"].append(new := stream("orders", "2026-02-01T00:00:00.000"))
    assert source.streams()[-1] == new.arn
    assert source.follows(stream("shop", "2026-03-01T00:00:00.000").arn)
    assert not source.follows(stream("another").arn)


def test_one_stream_is_followed_alone() -> None:
    source = TableSource(facts("shop"))
    assert source.follows(stream("shop").arn)
    assert not source.follows(stream("shop", "2026-03-01T00:00:00.000").arn)


@pytest.mark.parametrize(
    ("environment", "arguments", "expected"),
    [
        ({}, (["a", "b"], None, None), Following(("a", "b"))),
        ({"CDC_TABLES": "a, b"}, ([], None, None), Following(("a", "b"))),
        ({"CDC_TABLES": "a"}, (["b"], None, None), Following(("b",))),
        ({"CDC_TABLES": "a"}, ([], None, KINESIS), Following((), None, KINESIS)),
        ({"CDC_KINESIS_STREAM_ARN": KINESIS}, ([], None, None), Following((), None, KINESIS)),
    ],
    ids=["arguments", "settings", "arguments first", "another kind of argument first", "Kinesis by a setting"],
)
def test_what_to_follow_comes_from_arguments_or_settings(
    environment: dict[str, str], arguments: Any, expected: Following
) -> None:
    assert Following.of(load_settings(environment), *arguments) == expected


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({}, ([], None, None)),
        ({}, (["a"], stream("a").arn, None)),
        ({"CDC_TABLES": "a", "CDC_KINESIS_STREAM_ARN": KINESIS}, ([], None, None)),
    ],
    ids=["nothing", "two kinds", "two kinds by settings"],
)
def test_nothing_and_two_kinds_are_refused(environment: dict[str, str], arguments: Any) -> None:
    with pytest.raises(ConfigError, match="one of the three"):
        Following.of(load_settings(environment), *arguments)


def test_each_table_of_a_batch_is_prepared_before_its_first_change_is_written() -> None:
    prepared: list[tuple[str, Sequence[str]]] = []
    pipeline = Pipeline(MemorySink(), None, prepare=lambda source, keys, *_: prepared.append((source.table, keys)))
    records = [kinesis_change("a"), kinesis_change("b"), kinesis_change("a")]
    pipeline.write(records, Deadline.after(1))
    pipeline.write(records, Deadline.after(1))
    assert [table for table, _ in prepared] == ["a", "b"] * 2


def test_a_batch_waits_while_a_table_cannot_be_prepared() -> None:
    refusals = iter([SinkUnavailable("opensearch", "not now", wait_seconds=2.0)])

    def prepare(*_given: object) -> None:
        for refusal in refusals:
            raise refusal

    pipeline = Pipeline(MemorySink(), None, prepare=prepare)
    waiting = Deferred(Cause("opensearch: not now"), 2.0)
    assert pipeline.write([kinesis_change()] * 2, Deadline.after(1)) == [waiting, waiting]
    assert pipeline.write([kinesis_change()] * 2, Deadline.after(1)) == [Applied(), Applied()]


class Asked:
    """DynamoDB, that answers of a table's streaming destinations."""

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def describe_kinesis_streaming_destination(self, **_asked: str) -> dict[str, Any]:
        destination = {"StreamArn": KINESIS, "ApproximateCreationDateTimePrecision": self.precision}
        return {"KinesisDataStreamDestinations": [destination, {"StreamArn": "another"}]}


def test_a_table_that_writes_milliseconds_is_refused_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kinesis, "client_of", lambda _service: Asked("MICROSECOND"))
    check_precision(KINESIS, ["shop"])
    monkeypatch.setattr(kinesis, "client_of", lambda _service: Asked("MILLISECOND"))
    with pytest.raises(ConfigError, match=r"(?s)'shop' writes milliseconds .* update-kinesis-streaming-destination"):
        check_precision(KINESIS, ["shop"])


class Shard:
    """Kinesis, that has records of these ages in hours; the first page is empty."""

    def __init__(self, **ages: float) -> None:
        self.ages = ages
        self.pages = 0

    def get_shard_iterator(self, **_asked: str) -> dict[str, str]:
        return {"ShardIterator": "first"}

    def get_records(self, **_asked: Any) -> dict[str, Any]:
        self.pages += 1
        found = list(self.ages.items())[:1] if self.pages > 1 else []
        records = [
            {"SequenceNumber": number.removeprefix("n"), "ApproximateArrivalTimestamp": NOW - timedelta(hours=hours)}
            for number, hours in found
        ]
        return {"Records": records, "NextShardIterator": "next", "MillisBehindLatest": 5 if self.ages else 0}


@pytest.mark.parametrize(
    ("shard", "trimmed"),
    [
        (Shard(n5=30.0, n6=1.0), False),
        (Shard(n9=23.8), True),
        (Shard(n9=2.0), False),
        (Shard(), False),
    ],
    ids=["still there", "gone, and the oldest is about to go", "gone after a long silence", "nothing since"],
)
def test_what_kinesis_trimmed_is_seen_before_reading_goes_on(
    monkeypatch: pytest.MonkeyPatch, shard: Shard, trimmed: bool
) -> None:
    monkeypatch.setattr(kinesis, "client_of", lambda _service: shard)
    stream = KinesisStream(KINESIS, "changes", NOW, 24)
    assert is_trimmed(stream, "shardId-0", "5", NOW.timestamp) is trimmed
