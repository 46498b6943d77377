"""The engine's corrections: with each it does as AWS does, and without it MiniStack still does not.

A test of the second kind that fails says that MiniStack has learned it: the correction can go.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from tenacity import RetryError

from local.aws import Aws, install_aws, launch_aws
from local.demo.traffic import make_table
from tests.integration.test_whole_way import await_equal, in_stream

Probe = Callable[[Aws], bool]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Aws]]:
    """One engine with all corrections, one with none."""
    installed = install_aws(lambda _text, _done, _total: None)
    quick = {"ENGINE_TTL_SECONDS": "0.2", "ENGINE_EXPORT_SECONDS": "0"}
    started = {
        name: launch_aws(tmp_path_factory.mktemp(name), installed, **quick, ENGINE_WITHOUT=without)
        for name, without in {"corrected": "", "bare": "all"}.items()
    }
    try:
        for aws in started.values():
            aws.wait()
        yield started
    finally:
        for aws in started.values():
            aws.stop()


def new_table(aws: Aws) -> tuple[str, str]:
    name = f"table-{uuid4().hex[:8]}"
    return name, make_table(aws.client("dynamodb"), name)


def put(aws: Aws, table: str, **attributes: Any) -> None:
    aws.client("dynamodb").put_item(TableName=table, Item={**KEY, **attributes})


KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}


def records(aws: Aws, arn: str) -> list[Any]:
    return in_stream(aws.client("dynamodbstreams"), arn)


def numbers_are_a_counter_and_a_position(aws: Aws) -> bool:
    """Neighbours differ above the last 20 digits, and no number begins with a zero."""
    table, arn = new_table(aws)
    for n in range(3):
        put(aws, table, n={"N": str(n)})
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records(aws, arn)]
    counters = [int(number) // 10**20 for number in numbers]
    return len(set(counters)) == 3 and counters == sorted(counters) and not any(one.startswith("0") for one in numbers)


def records_tell_their_size(aws: Aws) -> bool:
    table, arn = new_table(aws)
    put(aws, table, n={"S": "x" * 1000})
    (record,) = records(aws, arn)
    return bool(record["dynamodb"]["SizeBytes"] > 1000)


def the_order_of_a_set_is_no_change(aws: Aws) -> bool:
    table, arn = new_table(aws)
    put(aws, table, s={"SS": ["x", "y"]}, m={"M": {"n": {"NS": ["1", "2"]}}})
    put(aws, table, s={"SS": ["y", "x"]}, m={"M": {"n": {"NS": ["2", "1"]}}})
    return len(records(aws, arn)) == 1


def disabled_and_deleted_streams_are_listed(aws: Aws) -> bool:
    table, arn = new_table(aws)
    dynamodb, streams = aws.client("dynamodb"), aws.client("dynamodbstreams")
    dynamodb.update_table(TableName=table, StreamSpecification={"StreamEnabled": False})
    disabled = [one["StreamArn"] for one in streams.list_streams(TableName=table)["Streams"]]
    dynamodb.delete_table(TableName=table)
    deleted = [one["StreamArn"] for one in streams.list_streams(TableName=table)["Streams"]]
    return disabled == deleted == [arn]


def shards_have_names_of_their_own_and_a_beginning(aws: Aws) -> bool:
    streams = aws.client("dynamodbstreams")
    shards = []
    for _ in range(2):
        _, arn = new_table(aws)
        shards += streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    return len({shard["ShardId"] for shard in shards}) == 2 and all(
        "StartingSequenceNumber" in shard["SequenceNumberRange"] for shard in shards
    )


def a_second_stream_is_refused(aws: Aws) -> bool:
    table, _ = new_table(aws)
    try:
        aws.client("dynamodb").update_table(
            TableName=table, StreamSpecification={"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
        )
    except ClientError as error:
        return error.response["Error"]["Code"] == "ValidationException"
    return False


def an_expired_item_leaves_a_record_of_the_service(aws: Aws) -> bool:
    table, arn = new_table(aws)
    aws.client("dynamodb").update_time_to_live(
        TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "until"}
    )
    put(aws, table, until={"N": str(int(time.time()) - 10)})
    with suppress(RetryError):
        await_equal(lambda: len(records(aws, arn)) == 2, 2)
    last = records(aws, arn)[-1]
    service = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    return bool(last["eventName"] == "REMOVE" and last.get("userIdentity") == service)


def statements_are_in_the_stream(aws: Aws) -> bool:
    """Those of a transaction that is refused are not."""
    table, arn = new_table(aws)
    dynamodb, where = aws.client("dynamodb"), "WHERE pk = 'a' AND sk = 'b'"
    dynamodb.execute_statement(Statement=f"INSERT INTO \"{table}\" VALUE {{'pk': 'a', 'sk': 'b', 'n': 1}}")
    dynamodb.batch_execute_statement(Statements=[{"Statement": f'UPDATE "{table}" SET n = 2 {where}'}])
    with suppress(ClientError):
        missing = {"Statement": f"UPDATE \"{table}\" SET n = 4 WHERE pk = 'nobody' AND sk = 'b'"}
        kept = {"Statement": f'UPDATE "{table}" SET n = 3 {where}'}
        dynamodb.execute_transaction(TransactStatements=[kept, missing])
    dynamodb.execute_transaction(TransactStatements=[{"Statement": f'DELETE FROM "{table}" {where}'}])
    seen = [(one["eventName"], one["dynamodb"].get("NewImage", {}).get("n")) for one in records(aws, arn)]
    return seen == [("INSERT", {"N": "1"}), ("MODIFY", {"N": "2"}), ("REMOVE", None)]


def reads_cost_what_they_read(aws: Aws) -> bool:
    """20 items of 1 KB: a scan reads 21 KB, in 6 units; an item of 1 KB costs one unit, half without consistency."""
    table, _ = new_table(aws)
    dynamodb = aws.client("dynamodb")
    for n in range(20):
        dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}, "sk": {"S": str(n)}, "x": {"S": "x" * 1024}})
    keys = [{"pk": {"S": "a"}, "sk": {"S": str(n)}} for n in range(10)]
    told = {"ReturnConsumedCapacity": "TOTAL"}
    query = {"KeyConditionExpression": "pk = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}
    costs = [
        dynamodb.scan(TableName=table, ConsistentRead=True, **told)["ConsumedCapacity"]["CapacityUnits"],
        dynamodb.query(TableName=table, **query, **told)["ConsumedCapacity"]["CapacityUnits"],
        dynamodb.get_item(TableName=table, Key=keys[0], **told)["ConsumedCapacity"]["CapacityUnits"],
    ]
    batch = dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}}, **told)
    return costs == [6.0, 3.0, 0.5] and [one["CapacityUnits"] for one in batch.get("ConsumedCapacity", [])] == [10.0]


def a_table_tells_its_size(aws: Aws) -> bool:
    table, _ = new_table(aws)
    dynamodb = aws.client("dynamodb")
    put(aws, table, x={"S": "x" * 10_000})
    full = dynamodb.describe_table(TableName=table)["Table"]["TableSizeBytes"]
    dynamodb.delete_item(TableName=table, Key=KEY)
    return bool(full > 10_000 and dynamodb.describe_table(TableName=table)["Table"]["TableSizeBytes"] == 0)


def new_stream(aws: Aws) -> tuple[Any, str]:
    kinesis, name = aws.client("kinesis"), f"stream-{uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return kinesis, kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]


def read(kinesis: Any, arn: str, shard: str) -> Any:
    iterator = kinesis.get_shard_iterator(StreamARN=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return kinesis.get_records(ShardIterator=iterator["ShardIterator"])


def a_split_shard_stays_readable_and_names_its_children(aws: Aws) -> bool:
    kinesis, arn = new_stream(aws)
    kinesis.put_record(StreamARN=arn, Data=b"x", PartitionKey="k")
    (parent,) = kinesis.list_shards(StreamARN=arn)["Shards"]
    kinesis.split_shard(StreamARN=arn, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(1 << 127))
    try:
        page = read(kinesis, arn, parent["ShardId"])
    except ClientError:
        return False
    return len(page["Records"]) == 1 and "NextShardIterator" not in page and len(page["ChildShards"]) == 2


def kinesis_gets_the_shape_of_its_service(aws: Aws) -> bool:
    kinesis, arn = new_stream(aws)
    table, _ = new_table(aws)
    aws.client("dynamodb").enable_kinesis_streaming_destination(
        TableName=table,
        StreamArn=arn,
        EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
    )
    put(aws, table, s={"SS": ["x", "y"]})
    put(aws, table, s={"SS": ["y", "x"]})
    (shard,) = kinesis.list_shards(StreamARN=arn)["Shards"]
    found: list[Any] = []

    def arrived() -> bool:
        found[:] = read(kinesis, arn, shard["ShardId"])["Records"]
        return bool(found)

    await_equal(arrived, 10)
    data = json.loads(found[0]["Data"])
    age = time.time() - data["dynamodb"]["ApproximateCreationDateTime"] / 1_000_000
    expected = {"tableName": table, "recordFormat": "application/json", "userIdentity": None, "eventName": "INSERT"}
    return (
        len(found) == 1
        and expected.items() <= data.items()
        and "SequenceNumber" not in data["dynamodb"]
        and 0 <= age < 60
    )


def new_bucket(aws: Aws) -> tuple[Any, str]:
    s3, name = aws.client("s3"), f"bucket-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    return s3, name


def in_base64(algorithm: str, body: bytes) -> str:
    return b64encode(hashlib.new(algorithm, body).digest()).decode()


def a_put_is_answered_with_its_checksum(aws: Aws) -> bool:
    s3, bucket = new_bucket(aws)
    answer = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumAlgorithm="SHA256")
    return bool(answer.get("ChecksumSHA256") == in_base64("sha256", b"x"))


def a_delete_during_a_conditional_put_is_a_conflict(aws: Aws) -> bool:
    s3, bucket = new_bucket(aws)
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    where = urlsplit(str(aws.endpoint("s3")))
    with socket.create_connection((str(where.hostname), int(where.port or 80)), timeout=10) as connection:
        head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: 1\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}If-None-Match: *\r\nAuthorization: {SIGNED}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")  # the request is under way
        s3.delete_object(Bucket=bucket, Key="k")
        connection.sendall(b"x")
        return connection.recv(1000).startswith(b"HTTP/1.1 409 ")


SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def exports_are_written(aws: Aws) -> bool:
    """Full, as of an earlier time, and the net changes since then; refused without point-in-time recovery."""
    dynamodb = aws.client("dynamodb")
    (s3, bucket), (table, _) = new_bucket(aws), new_table(aws)
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    try:
        dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket=bucket)
    except dynamodb.exceptions.PointInTimeRecoveryUnavailableException:
        pass
    else:
        return False
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    put(aws, table, n={"N": "1"})
    between = int(time.time()) + 1  # an export's time has whole seconds
    await_equal(lambda: time.time() >= between + 0.1, 5)
    put(aws, table, n={"N": "2"})
    dynamodb.put_item(TableName=table, Item={"pk": {"S": "new"}, "sk": {"S": "b"}})
    dynamodb.delete_item(TableName=table, Key=KEY)
    whole = exported(s3, dynamodb, TableArn=arn, S3Bucket=bucket, S3Prefix="p", ExportTime=between)
    window = {"ExportFromTime": between, "ExportToTime": int(time.time()) + 2}
    since = exported(
        s3,
        dynamodb,
        TableArn=arn,
        S3Bucket=bucket,
        ExportType="INCREMENTAL_EXPORT",
        IncrementalExportSpecification=window,
    )
    changes = {line["Keys"]["pk"]["S"]: (line.get("OldImage"), line.get("NewImage")) for line in since}
    one = {**KEY, "n": {"N": "1"}}
    return whole == [{"Item": one}] and changes == {
        "a": (one, None),
        "new": (None, {"pk": {"S": "new"}, "sk": {"S": "b"}}),
    }


def exported(s3: Any, dynamodb: Any, **asked: Any) -> list[Any]:
    """The lines of an export, by its manifests and checksums."""
    arn = dynamodb.export_table_to_point_in_time(**asked)["ExportDescription"]["ExportArn"]

    def described() -> Any:
        return dynamodb.describe_export(ExportArn=arn)["ExportDescription"]

    await_equal(lambda: described()["ExportStatus"] == "COMPLETED", 10)

    def body(key: str) -> bytes:
        return bytes(s3.get_object(Bucket=asked["S3Bucket"], Key=key)["Body"].read())

    def checked(key: str) -> bytes:
        found = body(key)
        assert body(key.replace(".json", ".checksum")).decode() == in_base64("md5", found)
        return found

    summary = json.loads(checked(described()["ExportManifest"]))
    files = [json.loads(line) for line in checked(summary["manifestFilesS3Key"]).splitlines()]
    lines = []
    for file in files:
        data = body(file["dataFileS3Key"])
        assert file["md5Checksum"] == in_base64("md5", data)
        lines += gzip.decompress(data).splitlines()
    assert summary["itemCount"] == sum(file["itemCount"] for file in files) == len(lines)
    return [json.loads(line) for line in lines]


PROBES: dict[str, Probe] = {
    "sequence-numbers": numbers_are_a_counter_and_a_position,
    "record-sizes": records_tell_their_size,
    "kinesis-destinations": kinesis_gets_the_shape_of_its_service,
    "order-of-sets": the_order_of_a_set_is_no_change,
    "list-streams": disabled_and_deleted_streams_are_listed,
    "shards": shards_have_names_of_their_own_and_a_beginning,
    "second-stream": a_second_stream_is_refused,
    "expiry": an_expired_item_leaves_a_record_of_the_service,
    "statements": statements_are_in_the_stream,
    "capacity": reads_cost_what_they_read,
    "table-sizes": a_table_tells_its_size,
    "resharding": a_split_shard_stays_readable_and_names_its_children,
    "checksums": a_put_is_answered_with_its_checksum,
    "races": a_delete_during_a_conditional_put_is_a_conflict,
    "exports": exports_are_written,
}


@pytest.mark.parametrize("name", PROBES)
def test_the_engine_does_as_aws_does(engines: dict[str, Aws], name: str) -> None:
    assert PROBES[name](engines["corrected"])


@pytest.mark.parametrize("name", PROBES)
def test_without_its_correction_it_does_not(engines: dict[str, Aws], name: str) -> None:
    done = PROBES[name](engines["bare"])
    assert not done, f"MiniStack does this by itself: the correction {name!r} of local/engine can go"


def test_every_correction_has_a_probe() -> None:
    """The names are read as text: what they name runs in the engine's own environment."""
    listed = (Path(__file__).parents[2] / "local/engine/corrections.py").read_text()
    assert re.findall(r'^    "([a-z-]+)": \w+,$', listed, re.MULTILINE) == list(PROBES)
