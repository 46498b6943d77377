"""Kinesis Data Streams for DynamoDB through the KCL: several tables in one stream, shards that split and merge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from cdc.archive import read_archive
from local.demo.traffic import make_table
from tests.integration.test_whole_way import await_equal


@dataclass
class StreamedTable:
    """A table that DynamoDB streams into Kinesis, and what was written to it, oldest first."""

    client: Any
    name: str
    written: list[tuple[str, str | None]] = field(default_factory=list)

    def put(self, key: str, number: int) -> None:
        self.client.put_item(TableName=self.name, Item={**_key(key), "n": {"N": str(number)}})
        self.written.append((key, str(number)))

    def delete(self, key: str) -> None:
        self.client.delete_item(TableName=self.name, Key=_key(key))
        self.written.append((key, None))

    def stands(self) -> dict[str, str]:
        items = self.client.scan(TableName=self.name, ConsistentRead=True)["Items"]
        return {f"{item['pk']['S']}|x": item["n"]["N"] for item in items}


def _key(key: str) -> dict[str, Any]:
    return {"pk": {"S": key}, "sk": {"S": "x"}}


@dataclass
class KinesisStream:
    """A Kinesis stream that tables are joined to."""

    client: Any
    dynamodb: Any
    name: str
    arn: str

    def table(self, name: str) -> StreamedTable:
        """A new table that streams into it, in microseconds."""
        make_table(self.dynamodb, name)
        self.dynamodb.enable_kinesis_streaming_destination(
            TableName=name,
            StreamArn=self.arn,
            EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
        )
        return StreamedTable(self.dynamodb, name)

    def await_active(self) -> None:
        self.client.get_waiter("stream_exists").wait(StreamName=self.name, WaiterConfig={"Delay": 1})

    def open_shards(self) -> list[dict[str, Any]]:
        shards = self.client.list_shards(StreamARN=self.arn)["Shards"]
        return [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]


@pytest.fixture
def kinesis(aws: Any) -> KinesisStream:
    """A new stream of four shards."""
    client, name = aws("kinesis"), f"stream-{uuid4().hex[:8]}"
    client.create_stream(StreamName=name, ShardCount=4)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    arn = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    return KinesisStream(client, aws("dynamodb"), name, arn)


@pytest.fixture
def deployment(environment: dict[str, str], bucket: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a consumer; its mappings are files of `mappings`."""
    (tmp_path / "mappings").mkdir()
    return {
        **environment,
        "CDC_MAPPINGS": str(tmp_path / "mappings"),
        "CDC_ARCHIVE_BUCKET": bucket,
        "CDC_DEAD_LETTER_BUCKET": bucket,
        "CDC_KCL_PROFILE": "local",
        "CDC_FLUSH_SECONDS": "1",
        "CDC_APPLICATION": f"app-{uuid4().hex[:8]}",
        "CDC_WORKER_ID": f"worker-{uuid4().hex[:8]}",
    }


@pytest.fixture
def consumer(deployment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts `cdc run` with these arguments; its log is consumer.log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "consumer.log").open("ab") as log:
            command = [sys.executable, "-m", "consumers.cli.main", "run", *arguments]
            started.append(subprocess.Popen(command, env={**os.environ, **deployment}, stdout=log, stderr=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def mapped(deployment: dict[str, str], table: str) -> str:
    """Index a table under its own name."""
    (Path(deployment["CDC_MAPPINGS"]) / f"{table}.yml").write_text(f"table: {table}\ndocuments: [{{index: {table}}}]\n")
    return table


def write(table: StreamedTable, numbers: range) -> None:
    for number in numbers:
        table.put(f"k{number % 23}", number)
        if number % 11 == 10:
            table.delete(f"k{number % 23}")


def indexed(opensearch: Any, index: str) -> dict[str, str]:
    if not opensearch.indices.exists(index=index):
        return {}
    opensearch.indices.refresh(index=index)
    hits = opensearch.search(index=index, params={"size": 100})["hits"]["hits"]
    return {hit["_id"]: str(hit["_source"]["n"]) for hit in hits}


def test_tables_of_one_stream_are_followed_while_its_shards_split_and_merge(
    kinesis: KinesisStream,
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    opensearch: Any,
    aws: Any,
    bucket: str,
    tmp_path: Path,
) -> None:
    """Every change reaches index and archive, in order for each item; no child shard is read before its parents."""
    names = [mapped(deployment, f"{kind}-{uuid4().hex[:6]}") for kind in ("orders", "customers")]
    orders, customers = (kinesis.table(name) for name in names)
    write(orders, range(60))
    status = tmp_path / "status.jsonl"
    process = consumer("--kinesis-stream-arn", kinesis.arn, "--status-file", str(status))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)

    one, two, three, _ = sorted(kinesis.open_shards(), key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))
    low, high = (int(one["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
    kinesis.client.split_shard(
        StreamName=kinesis.name, ShardToSplit=one["ShardId"], NewStartingHashKey=str((low + high) // 2)
    )
    write(customers, range(60))
    kinesis.await_active()
    kinesis.client.merge_shards(
        StreamName=kinesis.name, ShardToMerge=two["ShardId"], AdjacentShardToMerge=three["ShardId"]
    )
    write(orders, range(60, 120))
    kinesis.await_active()
    write(customers, range(60, 120))

    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)
    await_equal(lambda: indexed(opensearch, customers.name) == customers.stands(), 150)
    await_equal(lambda: archived(aws, bucket, orders) == by_item(orders.written), 60)
    await_equal(lambda: archived(aws, bucket, customers) == by_item(customers.written), 60)
    process.terminate()
    assert process.wait(60) == 0
    lines = [orjson.loads(line) for line in status.read_bytes().splitlines()]
    seen = [line["shard"] for line in lines if "shard" in line]
    children = [shard for shard in kinesis.client.list_shards(StreamARN=kinesis.arn)["Shards"] if parents(shard)]
    assert len(children) == 3
    for child in children:
        for parent in parents(child):
            assert child["ShardId"] in seen
            assert parent in seen
            assert last(seen, parent) < seen.index(child["ShardId"])


def test_a_stream_is_read_by_enhanced_fan_out(
    kinesis: KinesisStream, deployment: dict[str, str], consumer: Callable[..., Any], opensearch: Any
) -> None:
    orders = kinesis.table(mapped(deployment, f"orders-{uuid4().hex[:6]}"))
    deployment["CDC_KINESIS_RETRIEVAL"] = "fan_out"
    deployment["CDC_KINESIS_STREAM_ARN"] = kinesis.arn
    write(orders, range(40))
    process = consumer()
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)
    write(orders, range(40, 80))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)
    (name,) = [one["ConsumerName"] for one in kinesis.client.list_stream_consumers(StreamARN=kinesis.arn)["Consumers"]]
    assert name == deployment["CDC_APPLICATION"]
    process.terminate()
    assert process.wait(60) == 0


def parents(shard: dict[str, Any]) -> list[str]:
    return [shard[name] for name in ("ParentShardId", "AdjacentParentShardId") if shard.get(name)]


def last(seen: list[str], shard: str) -> int:
    return max(place for place, name in enumerate(seen) if name == shard)


def by_item(written: Iterable[tuple[str, str | None]]) -> dict[str, list[str | None]]:
    """The states of each item, oldest first."""
    states: dict[str, list[str | None]] = {}
    for key, state in written:
        states.setdefault(key, []).append(state)
    return states


def archived(aws: Any, bucket: str, table: StreamedTable) -> dict[str, list[str | None]]:
    """The same of the archive, by the times of the changes."""
    lines = sorted(
        (one.document for one in read_archive(aws("s3"), bucket, "cdc", table.name)),
        key=lambda line: int(line["Metadata"]["WriteTimestampMicros"]["N"]),
    )
    return by_item((line["Keys"]["pk"]["S"], line.get("NewImage", {}).get("n", {}).get("N")) for line in lines)


def test_a_table_that_no_mapping_names_is_skipped_and_stops_no_other(
    kinesis: KinesisStream,
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    opensearch: Any,
    tmp_path: Path,
) -> None:
    orders = kinesis.table(mapped(deployment, f"orders-{uuid4().hex[:6]}"))
    strangers = kinesis.table(f"strangers-{uuid4().hex[:6]}")
    write(orders, range(10))
    write(strangers, range(3))
    status = tmp_path / "status.jsonl"
    process = consumer("--kinesis-stream-arn", kinesis.arn, "--status-file", str(status))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)
    write(strangers, range(3, 6))
    write(orders, range(10, 30))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), 150)
    process.terminate()
    assert process.wait(60) == 0
    log = (tmp_path / "consumer.log").read_text()
    assert log.count(f"no mapping names the table {strangers.name}: its changes are skipped") == 1
    lines = [orjson.loads(line) for line in status.read_bytes().splitlines()]
    assert sum(line["outcomes"].get("skipped", 0) for line in lines if line.get("sink") == "opensearch") == 6


def test_a_table_that_no_mapping_names_can_be_refused_and_is_named(
    kinesis: KinesisStream, deployment: dict[str, str], consumer: Callable[..., Any], tmp_path: Path
) -> None:
    mapped(deployment, "orders")
    deployment["CDC_UNMAPPED"] = "refuse"
    write(kinesis.table("strangers"), range(3))
    assert consumer("--kinesis-stream-arn", kinesis.arn).wait(120) == 2
    assert "'strangers'" in (tmp_path / "consumer.log").read_text()


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("arn:aws:kinesis:us-east-1:000000000000:stream/nobody", "there is no Kinesis stream"),
        ("arn:aws:dynamodb:us-east-1:000000000000:table/shop", "is not the ARN of a Kinesis data stream"),
    ],
    ids=["missing", "of something else"],
)
def test_a_stream_that_cannot_be_read_is_refused_at_the_start(
    deployment: dict[str, str], consumer: Callable[..., Any], tmp_path: Path, arn: str, message: str
) -> None:
    mapped(deployment, "orders")
    assert consumer("--kinesis-stream-arn", arn).wait(60) == 2
    assert message in (tmp_path / "consumer.log").read_text()
