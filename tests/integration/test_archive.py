"""S3's conditional writes: equal, shorter, longer and overlapping objects under one name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from cdc import Change, Deadline
from cdc.archive import read_archive, read_lines
from cdc.errors import MalformedRecord, SinkMisconfigured
from cdc.mappings.files import parse_mapping
from cdc.records.decoding import change_from_kinesis
from cdc.records.sequence import SequenceNumber
from cdc.sinks.archive_s3 import S3Archive
from cdc.testing import change, stream_record

CHANGES = [
    change({"pk": f"k{number % 3}"}, None, {"n": number, "password": "x"}, sequence=number + 1) for number in range(10)
]


def archive(client: Any, bucket: str, changes: Sequence[Change], text: str = "table: shop") -> None:
    mapping = parse_mapping(text, source="shop.yml")
    sink = S3Archive(client, bucket, lambda _table: mapping)
    sink.write(changes, Deadline.after(30))
    sink.flush(Deadline.after(30))


def objects(client: Any, bucket: str) -> dict[str, list[bytes]]:
    listing = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        entry["Key"]: read_lines(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()) for entry in listing
    }


def sequences(client: Any, bucket: str) -> list[int]:
    return [int(archived.sequence) for archived in read_archive(client, bucket, "cdc", "shop")]


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        (slice(0, 6), slice(0, 6), 6),
        (slice(0, 6), slice(0, 3), 6),
        (slice(0, 3), slice(0, 6), 6),
        (slice(0, 10, 2), slice(0, 7), 9),
    ],
    ids=["equal", "shorter", "longer", "overlapping"],
)
def test_a_taken_name_is_united_and_nothing_is_taken_out(
    aws: Any, bucket: str, first: slice, second: slice, whole: int
) -> None:
    archive(aws("s3"), bucket, CHANGES[first])
    archive(aws("s3"), bucket, CHANGES[second])
    ((key, lines),) = objects(aws("s3"), bucket).items()
    wanted = sorted({int(one.sequence.value) for part in (first, second) for one in CHANGES[part]})
    assert sequences(aws("s3"), bucket) == wanted
    assert len(lines) == len(wanted)
    assert whole >= len(wanted) - 1
    assert key == (
        "cdc/table=shop/date=2026-01-15/hour=09/"
        f"2026-01-15T093000.123-{1:040d}-{CHANGES[0].identity.digest[:8]}.ndjson.gz".replace("2026-01-15T", "20260115T")
    )
    assert aws("s3").head_object(Bucket=bucket, Key=key)["Metadata"]["count"] == str(len(wanted))


def test_objects_that_overlap_are_read_each_change_once(aws: Any, bucket: str) -> None:
    archive(aws("s3"), bucket, CHANGES[:6])
    archive(aws("s3"), bucket, CHANGES[2:9])
    archive(aws("s3"), bucket, CHANGES[5:])
    assert len(objects(aws("s3"), bucket)) == 3
    assert sequences(aws("s3"), bucket) == list(range(1, 11))


def test_a_shorter_replay_does_not_write_the_object_again(aws: Any, bucket: str) -> None:
    archive(aws("s3"), bucket, CHANGES[:6])
    (entry,) = aws("s3").list_objects_v2(Bucket=bucket)["Contents"]
    archive(aws("s3"), bucket, CHANGES[:3])
    (again,) = aws("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert again["LastModified"] == entry["LastModified"]


def test_what_is_no_object_of_the_archive_is_named(aws: Any, bucket: str) -> None:
    archive(aws("s3"), bucket, CHANGES[:3])
    (entry,) = aws("s3").list_objects_v2(Bucket=bucket)["Contents"]
    aws("s3").put_object(Bucket=bucket, Key=entry["Key"], Body=b"foreign")
    with pytest.raises(SinkMisconfigured, match="Move it away"):
        archive(aws("s3"), bucket, CHANGES[:4])
    aws("s3").put_object(Bucket=bucket, Key="cdc/table=shop/other.ndjson.gz", Body=b"foreign")
    with pytest.raises(MalformedRecord, match=r"other\.ndjson\.gz is no object of an archive"):
        sequences(aws("s3"), bucket)


def test_kinesis_copies_are_read_once_and_tables_stay_apart(aws: Any, bucket: str) -> None:
    arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"

    def record(table: str, micros: int, number: int) -> Change:
        data = {**stream_record({"pk": "a"}, None, {"n": micros}), "tableName": table}
        data["dynamodb"] |= {
            "ApproximateCreationDateTime": micros,
            "ApproximateCreationDateTimePrecision": "MICROSECOND",
        }
        return change_from_kinesis(json.dumps(data).encode(), arn, SequenceNumber.parse(f"{number:056d}", 56))

    archive(aws("s3"), bucket, [record("shop", 1, 1), record("other", 2, 2), record("shop", 3, 3)])
    archive(aws("s3"), bucket, [record("shop", 1, 4), record("shop", 5, 5)])
    assert sequences(aws("s3"), bucket) == [1, 3, 5]
    assert len(list(read_archive(aws("s3"), bucket, "cdc", "other"))) == 1


def test_what_the_mapping_excludes_is_not_archived(aws: Any, bucket: str) -> None:
    archive(aws("s3"), bucket, CHANGES, "table: shop\narchive: {exclude: [password]}")
    lines = [archived.document for archived in read_archive(aws("s3"), bucket, "cdc")]
    assert [set(line["NewImage"]) for line in lines] == [{"pk", "n"}] * 10


def test_a_missing_bucket_stops_the_consumer(aws: Any) -> None:
    with pytest.raises(SinkMisconfigured, match="Create the bucket"):
        archive(aws("s3"), "no-such-bucket", CHANGES)
