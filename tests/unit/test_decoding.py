"""Wire formats become changes; a record that can't be read stops only itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cdc.errors import ConfigError, ImageMissing, MalformedRecord
from cdc.records.change import Added, Change, Changed, Operation, Removed, StreamView
from cdc.records.decoding import Unreadable, change_from_kinesis, changes_from_lambda, read_adapter, read_lambda
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import STREAM_ARN, stream_record
from tests.events import FOLDER, payload

STREAM = Stream.dynamodb(STREAM_ARN)


def test_a_lambda_event_becomes_exact_changes() -> None:
    insert, modify, *_ = changes_from_lambda(payload("lambda-dynamodb"))
    assert insert.operation is Operation.INSERT
    assert insert.table == "shop"
    assert insert.keys == {"pk": "CUSTOMER#42", "sk": "ORDER#2026-0001"}
    assert insert.created_at == datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    assert insert.after is not None
    assert insert.after["total"] == 12345678901234567890123456789012345678
    assert insert.after["tiny"] == Decimal("-1E-130")
    assert insert.after["sizes"] == frozenset({10, 9, Decimal("1.5")})
    assert insert.after["prints"] == frozenset({b"\x00", b"\xff\xfe"})
    assert insert.after["note"] is None
    assert modify.differences() == {
        ("paid",): Changed(False, True),
        ("note",): Removed(None),
        ("address", "city"): Changed("Zürich", "Genève"),
    }


def test_deletes_by_ttl_are_told_apart() -> None:
    removes = [one for one in changes_from_lambda(payload("lambda-dynamodb")) if one.operation is Operation.REMOVE]
    assert [one.expired for one in removes] == [False, True]


def test_all_four_views_are_read() -> None:
    views = [one.view for one in changes_from_lambda(payload("lambda-dynamodb-views"))]
    assert set(views) >= {StreamView.KEYS_ONLY, StreamView.NEW_IMAGE, StreamView.OLD_IMAGE}


def test_the_adapters_empty_images_mean_absent() -> None:
    text = (FOLDER / "kcl-record.json").read_bytes()
    record = read_adapter(text, STREAM)
    assert isinstance(record, Change)
    assert record.before is None
    assert record.created_at == datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    assert ("total",) in record.differences()
    assert record.differences()["paid",] == Added(False)


def test_a_kinesis_record_ranks_by_its_microsecond() -> None:
    data = json.dumps(payload("kinesis-record")).encode()
    arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"
    change = change_from_kinesis(data, arn, SequenceNumber.parse("4" * 56, 56))
    assert change.created_micros == 1768469401123456
    assert change.identity.position == "1768469401123456"
    (from_lambda,) = changes_from_lambda({"Records": payload("lambda-kinesis")["Records"][:1]})
    assert from_lambda.identity == change.identity
    assert from_lambda.version == change.version


def test_sequence_numbers_of_real_streams_rank_as_they_were_written() -> None:
    lines = (FOLDER / "sequence-numbers.txt").read_text(encoding="utf-8").splitlines()
    groups: list[list[int]] = []
    for line in lines:
        if line.startswith("#"):
            groups.append([])
        else:
            groups[-1].append(int(line))
    for numbers in groups[:3] + groups[3:4]:
        versions = [_version(number) for number in numbers]
        assert versions == sorted(set(versions))


def _version(sequence: int) -> int:
    record = stream_record({"pk": "a"}, None, {}, sequence=sequence)
    (change,) = changes_from_lambda({"Records": [record]})
    return change.version


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"dynamodb": None}, "Records.0.dynamodb"),
        ({"eventName": "UPSERT"}, "Records.0.eventName"),
        ({"dynamodb.SequenceNumber": None}, "Records.0.dynamodb.SequenceNumber"),
        ({"dynamodb.SequenceNumber": "12x"}, "Records.0.dynamodb.SequenceNumber"),
        ({"dynamodb.Keys": {}}, "Records.0.dynamodb.Keys"),
        ({"dynamodb.NewImage": {}}, "Records.0.dynamodb.NewImage"),
        ({"dynamodb.Keys": {"pk": {"N": "one"}}}, "Records.0.dynamodb.Keys.pk"),
        ({"dynamodb.ApproximateCreationDateTime": -1}, "Records.0.dynamodb.ApproximateCreationDateTime"),
        ({"dynamodb.ApproximateCreationDateTime": 1e300}, "Records.0.dynamodb.ApproximateCreationDateTime"),
        ({"dynamodb.ApproximateCreationDateTime": "today"}, "Records.0.dynamodb.ApproximateCreationDateTime"),
        ({"eventSourceARN": "arn:nothing"}, "Records.0.eventSourceARN"),
    ],
)
def test_a_bad_record_is_unreadable_alone_and_names_the_path(change: dict[str, Any], path: str) -> None:
    bad, good = stream_record({"pk": "a"}, None, {}), stream_record({"pk": "b"}, None, {}, sequence=2)
    for name, value in change.items():
        *parents, last = name.split(".")
        place: Any = bad
        for parent in parents:
            place = place[parent]
        place[last] = value
    first, second = read_lambda({"Records": [bad, good]})
    assert isinstance(first, Unreadable)
    assert str(first.error).startswith(path)
    assert isinstance(second, Change)
    with pytest.raises(MalformedRecord):
        list(changes_from_lambda({"Records": [bad]}))


@pytest.mark.parametrize("event", [{}, {"Records": [{"eventSource": "aws:sqs"}]}, {"Records": [7]}])
def test_an_event_of_another_source_is_a_mistake_of_the_deployment(event: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"event source mapping|eventSource"):
        read_lambda(event)


def test_an_empty_batch_has_no_records() -> None:
    assert list(read_lambda({"Records": []})) == []


def test_images_decode_on_first_use_and_name_the_path_to_the_fault() -> None:
    record = stream_record({"pk": "a"}, None, {})
    record["dynamodb"]["NewImage"]["deep"] = {"M": {"list": {"L": [{"S": "x"}, {"Z": "?"}]}}}
    (change,) = changes_from_lambda({"Records": [record]})
    with pytest.raises(MalformedRecord, match=r"deep.list.1: unknown type tag 'Z'"):
        _ = change.after


@pytest.mark.parametrize("value", [{"N": "Infinity"}, {"N": "NaN"}, {"N": 1}, {"N": "0x1"}, {"S": "a", "N": "1"}, 5])
def test_what_is_no_attribute_value_is_refused(value: Any) -> None:
    record = stream_record({"pk": "a"}, None, {})
    record["dynamodb"]["NewImage"]["x"] = value
    (change,) = changes_from_lambda({"Records": [record]})
    with pytest.raises(MalformedRecord, match=r"^x: "):
        _ = change.after


def test_differences_without_both_images_say_what_to_enable() -> None:
    record = stream_record({"pk": "a"}, {"n": 1}, {"n": 2}, view=StreamView.NEW_IMAGE)
    (change,) = changes_from_lambda({"Records": [record]})
    with pytest.raises(ImageMissing, match="NEW_AND_OLD_IMAGES"):
        change.differences()


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("10E-1", "1"), ("-0", "0"), ("1E+2", "100.00")])
def test_numbers_are_compared_by_value(one: str, other: str) -> None:
    record = stream_record({"pk": "a"}, {}, {})
    record["dynamodb"]["OldImage"]["n"] = {"N": one}
    record["dynamodb"]["NewImage"]["n"] = {"N": other}
    (change,) = changes_from_lambda({"Records": [record]})
    assert change.differences() == {}


def test_true_is_not_one_and_null_is_not_absent() -> None:
    record = stream_record({"pk": "a"}, {"flag": True, "gone": None}, {"flag": 1})
    (change,) = changes_from_lambda({"Records": [record]})
    assert change.differences() == {("flag",): Changed(True, 1), ("gone",): Removed(None)}


@pytest.mark.parametrize(("old", "new"), [({"L": 5}, {"L": 6}), ({"M": 5}, {"M": {}}), ({"L": [5]}, {"L": [6]})])
def test_differences_of_what_cannot_be_read_name_the_path(old: Any, new: Any) -> None:
    record = stream_record({"pk": "a"}, {}, {})
    record["dynamodb"]["OldImage"]["x"], record["dynamodb"]["NewImage"]["x"] = old, new
    (change,) = changes_from_lambda({"Records": [record]})
    with pytest.raises(MalformedRecord, match=r"^x"):
        change.differences()


def test_a_stream_older_than_the_versions_begin_ranks_lowest() -> None:
    old = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2018-01-15T09:30:00.123"
    first, second = (
        next(changes_from_lambda({"Records": [stream_record({"pk": "a"}, None, {}, sequence=n, stream_arn=arn)]}))
        for n, arn in ((9 * 10**20, old), (1, STREAM_ARN))
    )
    assert 0 < first.version < second.version
