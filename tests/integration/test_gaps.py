"""Gaps: records that are gone before they were read. A stand-in before the streams says what AWS would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.records.stream import Stream
from cdc.records.versions import version_before_stream
from local.aws import endpoint_of
from tests.integration.standin import standing_in
from tests.integration.test_service import address, ready
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_table, write

__all__ = ["address", "deployment"]

pytestmark = pytest.mark.turn("gap")


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


def trimmed(operation: str, asked: dict[str, Any]) -> tuple[str, str] | None:
    """Make the records that were read last older than the stream keeps."""
    if operation == "GetShardIterator" and "SequenceNumber" in asked:
        return "TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard."
    return None


def read_and_stopped(
    consumer: Callable[..., Any], dynamodb: Any, table: str, opensearch: Any, index: str, numbers: range
) -> None:
    """A consumer reads what is written, checkpoints, and ends."""
    write(dynamodb, table, numbers)
    process = consumer("--table", table)
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table), 150)
    process.terminate()
    assert process.wait(60) == 0


def test_trimmed_records_stop_the_process_which_says_since_when_and_go_on_only_when_told(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    table: tuple[str, str],
    bucket: str,
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    dynamodb = aws("dynamodb")
    read_and_stopped(consumer, dynamodb, table[0], opensearch, index, range(10))
    write(dynamodb, table[0], range(20, 30))
    with standing_in(str(endpoint_of(deployment, "dynamodbstreams")), trimmed) as url:
        deployment["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] = url
        assert consumer("--table", table[0]).wait(120) == 1
        log = (tmp_path / "consumer.log").read_text()
        assert "records were trimmed before they were read; everything after sequence number " in log
        assert "CDC_ON_GAP=continue" in log
        assert in_index(opensearch, index) != in_table(dynamodb, table[0])

        deployment["CDC_ON_GAP"] = "continue"
        process = consumer("--table", table[0])
        await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]), 150)
        process.terminate()
        assert process.wait(60) == 0
    (letter,) = letters(aws, bucket)
    assert (letter.sink, letter.table, letter.stream) == ("stream", table[0], table[1])
    assert letter.sequence.isdecimal()


def letters(aws: Any, bucket: str) -> list[Any]:
    store = S3DeadLetters(aws("s3"), bucket)
    return [store.read(key) for key in store.keys()]  # noqa: SIM118  (no dictionary)


def test_a_lease_whose_shard_is_gone_stops_the_process_and_is_dropped_and_repaired_only_when_told(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    address: str,
    aws: Any,
    table: tuple[str, str],
    bucket: str,
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    """A document whose item's removal was in the shard is gone after the repair; until then `/readyz` tells it."""
    dynamodb, leases = aws("dynamodb"), deployment["CDC_APPLICATION"]
    read_and_stopped(consumer, dynamodb, table[0], opensearch, index, range(10))
    (lease,) = [item for item in dynamodb.scan(TableName=leases)["Items"] if "streamName" in item]
    gone = "shardId-00000001700000000000-deadbeef"
    key = lease["leaseKey"]["S"].rpartition(":")[0]
    dynamodb.put_item(
        TableName=leases,
        Item={**lease, "leaseKey": {"S": f"{key}:{gone}"}, "shardId": {"S": gone}, "checkpoint": {"S": "123"}},
    )
    assert consumer("--table", table[0]).wait(120) == 1
    log = (tmp_path / "consumer.log").read_text()
    assert f"a gap in {gone} (made 2023-11-14T22:13:20Z)" in log
    assert "the shard is gone; everything after sequence number 123 may be missing" in log

    version = version_before_stream(Stream.dynamodb(table[1]).minute or 0)
    left = {"version": version, "version_type": "external_gte"}
    opensearch.index(index=index, id="removed|x", body={"pk": "removed", "sk": "x", "n": 1}, params=left)
    write(dynamodb, table[0], range(20, 30))
    deployment["CDC_ON_GAP"] = "repair"
    process = consumer("--table", table[0])
    await_equal(lambda: "repairing" in str(ready(address)), 150)
    assert ready(address)[0] == 503
    (letter,) = letters(aws, bucket)
    assert (letter.sink, letter.sequence, letter.record["shard"]) == ("stream", "123", gone)
    await_equal(lambda: ready(address)[1]["state"] == "ready", 60)
    assert letters(aws, bucket) == []
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]), 60)
    process.terminate()
    assert process.wait(60) == 0
    assert len([item for item in dynamodb.scan(TableName=leases)["Items"] if "streamName" in item]) == 1
