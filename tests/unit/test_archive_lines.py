"""Lines of the archive: what readers of DynamoDB's incremental export make of them, and changes without a time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cdc import Change, Deadline
from cdc.archive import ArchivedChange, Segment, line_of, object_name
from cdc.causes import Cause, CauseKind
from cdc.delivery.age_limit import AgeLimit
from cdc.delivery.conflict_alarm import ConflictAlarm
from cdc.errors import MalformedRecord
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.mappings.writes import Put
from cdc.outcome import Deferred, Rejected, Superseded
from cdc.records.change import StreamView
from cdc.records.decoding import Unreadable, change_from_kinesis, read_adapter, read_lambda
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import STREAM_ARN, ScriptedSink, SimulatedClock, change, stream_record
from consumers.aws_lambda.changes import source_name

CONSUMER = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes/consumer/app:1585678888"
KINESIS = CONSUMER.partition("/consumer/")[0]


def timeless(
    before: dict[str, Any] | None = None, after: dict[str, Any] | None = None, sequence: int = 7, **facts: Any
) -> Change:
    record = stream_record({"pk": "a"}, before, after, sequence=sequence, **facts)
    del record["dynamodb"]["ApproximateCreationDateTime"]
    (read,) = read_lambda({"Records": [record]})
    assert isinstance(read, Change)
    return read


def as_an_export(line: bytes) -> str:
    """A reader of the export's format puts, or deletes ("DynamoDB table export output format")."""
    read = orjson.loads(line)
    if "Keys" not in read:
        return "nothing"
    return "put" if "NewImage" in read else "delete"


@pytest.mark.parametrize("view", list(StreamView))
def test_no_line_but_a_removal_s_is_a_delete_to_readers_of_the_export(view: StreamView) -> None:
    images: list[tuple[Any, Any]] = [(None, {"n": 1}), ({"n": 1}, {"n": 2}), ({"n": 2}, None)]
    made = [line_of(change({"pk": "a"}, *pair, view=view)) for pair in images]
    kept = "put" if view.has_new_image else "nothing"
    assert [as_an_export(line) for line in made] == [kept, kept, "delete"]
    for line, (before, _) in zip(made, images, strict=True):
        archived = ArchivedChange.of(line)
        assert archived.document["Metadata"]["View"] == {"S": view.value}
        assert archived.images["Keys"] == {"pk": {"S": "a"}}
        assert ("OldImage" in archived.images) == (view.has_old_image and before is not None)


# Changes without a time, which is optional


def test_a_record_without_a_time_is_read_and_ordered_as_ever() -> None:
    timed = change({"pk": "a"}, None, {"n": 1}, sequence=7)
    one, two = timeless(None, {"n": 1}), timeless({"n": 1}, {"n": 2}, sequence=8)
    assert one.created_at is None
    assert (one.identity, one.version) == (timed.identity, timed.version)
    assert one.version < two.version
    empty = stream_record({"pk": "a"}, None, {"n": 1}) | {}
    empty["dynamodb"]["ApproximateCreationDateTime"] = None
    assert isinstance(read_lambda({"Records": [empty]})[0], Change)
    assert isinstance(read_adapter(orjson.dumps(empty), Stream.dynamodb(STREAM_ARN)), Change)


def test_a_change_without_a_time_is_archived_under_a_time_that_is_named_as_unknown() -> None:
    one = timeless(None, {"n": 1})
    assert object_name("cdc", one).startswith("cdc/table=shop/date=unknown/hour=unknown/20260115T093000.123-0000")
    line = line_of(one)
    assert "WriteTimestampMicros" not in orjson.loads(line)["Metadata"]
    assert Segment.of([line]).metadata("shop")["first"] == "7"


def test_a_kinesis_record_without_a_time_is_refused_since_nothing_else_orders_it() -> None:
    data = stream_record({"pk": "a"}, None, {"n": 1}) | {"tableName": "shop"}
    del data["dynamodb"]["ApproximateCreationDateTime"]
    with pytest.raises(MalformedRecord, match="ApproximateCreationDateTime"):
        change_from_kinesis(orjson.dumps(data), KINESIS, SequenceNumber.parse("7"))


def test_a_tombstone_of_a_change_without_a_time_counts_from_now_so_that_it_is_not_purged_too_early() -> None:
    mapping = parse_mapping("table: shop\ndocuments: [{index: i, on_remove: tombstone}]", source="m.yml")
    (write,) = compile_mapping(mapping, "shop").writes(timeless({"n": 1}, None))
    assert isinstance(write, Put)
    assert orjson.loads(write.source)[TOMBSTONE_FIELD] > "2026-01-01"


def test_a_change_without_a_time_is_as_old_as_the_cause_that_it_waits_for() -> None:
    clock = SimulatedClock()
    down = ScriptedSink(lambda _: Deferred(Cause("down", CauseKind.OUT_OF_REACH)))
    sink = AgeLimit(down, max_age_seconds=3600, clock=clock, now=lambda: 2e9 + clock())
    one = timeless(None, {"n": 1})
    assert isinstance(sink.write([one], Deadline.after(1))[0], Deferred)
    clock.sleep(700)
    assert isinstance(sink.write([one], Deadline.after(1))[0], Deferred)
    for _ in range(5):
        clock.sleep(650)
        (outcome,) = sink.write([one], Deadline.after(1))
    assert isinstance(outcome, Rejected)


def test_a_change_without_a_time_explains_itself_to_the_alarm() -> None:
    alarms: list[str] = []
    sink = ConflictAlarm(ScriptedSink(lambda _: Superseded()), started=0, window=1, alarm=alarms.append)
    sink.write([timeless(None, {"n": 1})], Deadline.after(1))
    assert not alarms


# Consumers with enhanced fan-out


def test_a_consumer_with_enhanced_fan_out_reads_the_same_stream() -> None:
    data = stream_record({"pk": "a"}, None, {"n": 1}) | {"tableName": "shop"}
    data["dynamodb"] |= {
        "ApproximateCreationDateTime": 1768469400000000,
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
    }
    number = SequenceNumber.parse("7")
    direct, fanned = (change_from_kinesis(orjson.dumps(data), arn, number) for arn in (KINESIS, CONSUMER))
    assert direct == fanned
    assert fanned.stream.arn == KINESIS
    assert object_name("cdc", direct) == object_name("cdc", fanned)
    assert source_name({"Records": [{"eventSourceARN": CONSUMER}]}) == "changes"


def test_a_kinesis_arn_of_another_kind_is_refused() -> None:
    (read,) = read_lambda({"Records": [{"eventSource": "aws:dynamodb", "eventSourceARN": CONSUMER}]})
    assert isinstance(read, Unreadable)
