"""The whole way: table → stream → KCL or Lambda handler → OpenSearch and S3, judged as the demo is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import tenacity

from cdc.archive import read_archive
from cdc.errors import NothingSettled
from consumers.aws_lambda import changes as aws_lambda

ITEM = {"total": {"N": "12345678901234567890123456789012345678"}, "tags": {"SS": ["b", "a"]}, "raw": {"B": b"\x00\x01"}}


@pytest.fixture
def deployment(
    environment: dict[str, str], table: tuple[str, str], index: str, bucket: str, tmp_path: Path
) -> dict[str, str]:
    """The environment of a consumer of `table`."""
    (tmp_path / "mapping.yml").write_text(f"table: {table[0]}\ndocuments: [{{index: {index}}}]")
    return {
        **environment,
        "CDC_MAPPINGS": str(tmp_path / "mapping.yml"),
        "CDC_ARCHIVE_BUCKET": bucket,
        "CDC_DEAD_LETTER_BUCKET": bucket,
        "CDC_KCL_PROFILE": "local",
        "CDC_FLUSH_SECONDS": "1",
        "CDC_APPLICATION": f"app-{uuid4().hex[:8]}",
        "CDC_WORKER_ID": f"worker-{uuid4().hex[:8]}",
    }


@pytest.fixture
def consumer(deployment: dict[str, str], table: tuple[str, str], tmp_path: Path) -> Iterator[Callable[[], Any]]:
    """Starts `cdc run` as a process of its own; whatever runs in the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "consumer.log").open("ab") as log:
            command = [sys.executable, "-m", "consumers.cli.main", "run", "--table", table[0]]
            process = subprocess.Popen(command, env={**os.environ, **deployment}, stdout=log, stderr=log)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def write(dynamodb: Any, table: str, numbers: range) -> None:
    for number in numbers:
        key = {"pk": {"S": f"k{number % 7}"}, "sk": {"S": "x"}}
        if number % 11 == 10:
            dynamodb.delete_item(TableName=table, Key=key)
        else:
            dynamodb.put_item(TableName=table, Item={**key, **ITEM, "n": {"N": str(number)}})


def await_equal(check: Callable[[], bool], seconds: float = 90) -> None:
    """Return once `check` holds; fail if it does not in time."""
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda held: not held),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(seconds),
    )(check)


def in_index(opensearch: Any, index: str) -> dict[str, str]:
    if not opensearch.indices.exists(index=index):
        return {}
    opensearch.cluster.health(index=index, params={"wait_for_active_shards": "1"})
    opensearch.indices.refresh(index=index)
    hits = opensearch.search(index=index, params={"size": 100})["hits"]["hits"]
    return {hit["_id"]: str(hit["_source"]["n"]) for hit in hits}


def in_table(dynamodb: Any, table: str) -> dict[str, str]:
    items = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
    return {f"{item['pk']['S']}|{item['sk']['S']}": item["n"]["N"] for item in items}


def in_stream(streams: Any, arn: str) -> list[dict[str, Any]]:
    shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    found: list[dict[str, Any]] = []
    for shard in shards:
        iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        page = streams.get_records(ShardIterator=iterator["ShardIterator"], Limit=1000)
        while page["Records"]:
            found += page["Records"]
            page = streams.get_records(ShardIterator=page["NextShardIterator"], Limit=1000)
    return found


def test_the_consumer_resumes_where_it_was_killed(
    consumer: Callable[[], Any], aws: Any, table: tuple[str, str], opensearch: Any, index: str, bucket: str
) -> None:
    dynamodb, streams, s3 = aws("dynamodb"), aws("dynamodbstreams"), aws("s3")
    write(dynamodb, table[0], range(60))
    first = consumer()
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    first.kill()
    write(dynamodb, table[0], range(60, 120))
    second = consumer()
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    second.terminate()
    assert second.wait(40) == 0
    records = in_stream(streams, table[1])
    archived = list(read_archive(s3, bucket, "cdc", table[0]))
    assert [one.sequence for one in archived] == [record["dynamodb"]["SequenceNumber"] for record in records]
    assert s3.list_objects_v2(Bucket=bucket, Prefix="dead-letters")["KeyCount"] == 0


def test_a_consumer_that_cannot_index_stops_with_a_clear_error(
    deployment: dict[str, str], consumer: Callable[[], Any], tmp_path: Path
) -> None:
    deployment["CDC_OPENSEARCH_ENDPOINT"] = "http://127.0.0.1:9"
    assert consumer().wait(60) == 1
    assert "CDC_OPENSEARCH_ENDPOINT" in (tmp_path / "consumer.log").read_text()


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def test_the_handler_writes_what_a_stream_delivers(
    deployment: dict[str, str],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()
    dynamodb, s3 = aws("dynamodb"), aws("s3")
    write(dynamodb, table[0], range(60))
    event = {"Records": [lambda_record(record, table[1]) for record in in_stream(aws("dynamodbstreams"), table[1])]}
    poison = event["Records"][30]["dynamodb"]["Keys"]
    poison_id = event["Records"][30]["dynamodb"]["SequenceNumber"]
    event["Records"][30]["dynamodb"]["NewImage"] = {**poison, "n": {"Z": "?"}}
    for start in (0, 20, 40, 20):
        batch = {"Records": event["Records"][start : start + 20]}
        assert aws_lambda.handler(batch, Context()) == {"batchItemFailures": []}
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])
    assert len(list(read_archive(s3, bucket, "cdc"))) == 60
    (letter,) = s3.list_objects_v2(Bucket=bucket, Prefix="dead-letters")["Contents"]
    kept = json.loads(s3.get_object(Bucket=bucket, Key=letter["Key"])["Body"].read())
    assert kept["record"]["dynamodb"]["SequenceNumber"] == poison_id
    assert "unknown type tag 'Z'" in kept["reason"]


def test_the_handler_acknowledges_nothing_while_opensearch_is_down(
    deployment: dict[str, str], table: tuple[str, str], index: str, opensearch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**deployment, "CDC_DEADLINE_MARGIN_SECONDS": "49", "CDC_AWS_TIMEOUT_SECONDS": "3"}.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()
    from cdc.testing import stream_record

    first, second = (
        stream_record({"pk": "a", "sk": "b"}, None, {"n": number}, sequence=number, stream_arn=table[1])
        for number in (1, 2)
    )
    assert aws_lambda.handler({"Records": [first]}, Context()) == {"batchItemFailures": []}
    opensearch.indices.close(index=index)
    with pytest.raises(NothingSettled):
        aws_lambda.handler({"Records": [second]}, Context())
    opensearch.indices.open(index=index)
    assert aws_lambda.handler({"Records": [second]}, Context()) == {"batchItemFailures": []}


def lambda_record(record: dict[str, Any], arn: str) -> dict[str, Any]:
    """A record of GetRecords as Lambda delivers it: JSON, binary as base64, the time in epoch seconds."""
    from base64 import b64encode

    def encoded(value: Any) -> Any:
        return b64encode(value).decode() if isinstance(value, bytes) else value.timestamp()

    return {**json.loads(json.dumps(record, default=encoded)), "eventSourceARN": arn}
