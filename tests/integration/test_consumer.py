"""The consumer on a real KCL: orderly ends, failures, several streams, held shards."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdc.archive import read_archive
from local.aws import endpoint_of
from local.demo.traffic import make_table
from tests.integration.standin import standing_in
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_stream, in_table, write

__all__ = ["deployment"]


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


def test_a_held_shard_waits_for_the_index_and_loses_nothing(
    consumer: Callable[..., Any], aws: Any, table: tuple[str, str], opensearch: Any, index: str, tmp_path: Path
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    process = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    opensearch.indices.close(index=index)
    write(dynamodb, table[0], range(20, 40))
    await_equal(lambda: "index_closed_exception" in (tmp_path / "consumer.log").read_text())
    await_equal(lambda: f"{table[0]}: shardId" in held_line(tmp_path))
    assert re.search(
        r" is held since \S+Z: .*index_closed_exception; .* behind; nothing is lost for 23 h", held_line(tmp_path)
    )
    opensearch.indices.open(index=index)
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    await_equal(lambda: " goes on, after it was held for " in (tmp_path / "consumer.log").read_text())
    process.terminate()
    assert process.wait(40) == 0
    log = (tmp_path / "consumer.log").read_text()
    assert "stopped: 30 records settled" in log
    assert not re.search("streamsadapter|Not able to assign|hash range", log)


def held_line(folder: Path) -> str:
    """The one line that says that a shard is held."""
    lines = [line for line in (folder / "consumer.log").read_text().splitlines() if " is held since " in line]
    assert len(lines) <= 1
    return lines[0] if lines else ""


def test_a_stop_ends_a_held_shard_without_acknowledging_it(
    consumer: Callable[..., Any], aws: Any, table: tuple[str, str], opensearch: Any, index: str, tmp_path: Path
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(5))
    first = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    opensearch.indices.close(index=index)
    write(dynamodb, table[0], range(20, 30))
    await_equal(lambda: "index_closed_exception" in (tmp_path / "consumer.log").read_text())
    first.terminate()
    assert first.wait(40) == 0
    opensearch.indices.open(index=index)
    second = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    second.terminate()
    assert second.wait(40) == 0


def test_a_shard_that_cannot_be_handled_ends_the_process_and_is_read_again(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    table: tuple[str, str],
    bucket: str,
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    dynamodb, s3 = aws("dynamodb"), aws("s3")
    deployment["CDC_ARCHIVE_BUCKET"] = f"doomed-{bucket}"
    s3.create_bucket(Bucket=f"doomed-{bucket}")
    first = consumer("--table", table[0])
    await_equal(lambda: f"{table[0]}: reading shardId" in (tmp_path / "consumer.log").read_text())
    s3.delete_bucket(Bucket=f"doomed-{bucket}")
    write(dynamodb, table[0], range(30))
    assert first.wait(90) == 2
    assert "The specified bucket does not exist\n  → Create the bucket" in (tmp_path / "consumer.log").read_text()
    deployment["CDC_ARCHIVE_BUCKET"] = bucket
    second = consumer("--table", table[0])
    await_equal(lambda: len(list(read_archive(aws("s3"), bucket, "cdc", table[0]))) == 30)
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])
    second.terminate()
    assert second.wait(40) == 0


@pytest.mark.parametrize("setting", ["CDC_ARCHIVE_BUCKET", "CDC_DEAD_LETTER_BUCKET"])
def test_a_bucket_that_is_not_there_is_found_at_the_start(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    tmp_path: Path,
    setting: str,
) -> None:
    deployment[setting] = "no-such-bucket"
    assert consumer("--table", table[0]).wait(60) == 2
    (line,) = (line for line in (tmp_path / "consumer.log").read_text().splitlines() if line.startswith("error: "))
    assert line.endswith("there is no bucket no-such-bucket")
    assert f"  → Set {setting} to a bucket that is there" in (tmp_path / "consumer.log").read_text()
    assert not opensearch.indices.exists(index=index)


def test_a_bucket_that_is_out_of_reach_at_the_start_is_another_matter(
    deployment: dict[str, str], consumer: Callable[..., Any], table: tuple[str, str], tmp_path: Path
) -> None:
    deployment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:9"
    assert consumer("--table", table[0]).wait(60) == 1
    assert "error: archive: out of reach: EndpointConnectionError" in (tmp_path / "consumer.log").read_text()


def test_the_old_stream_is_read_to_its_end_beside_the_new_one(
    consumer: Callable[..., Any],
    aws: Any,
    table: tuple[str, str],
    bucket: str,
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    dynamodb.update_table(TableName=table[0], StreamSpecification={"StreamEnabled": False})
    second = enabled_anew(dynamodb, table[0])
    write(dynamodb, table[0], range(20, 30))
    if minute(second) == minute(table[1]):
        # their changes can't be told apart: refused, until there is a stream of another minute
        assert consumer("--table", table[0]).wait(60) == 2
        assert "within the same minute" in (tmp_path / "consumer.log").read_text()
        await_equal(lambda: datetime.now(UTC).strftime("%H:%M") != minute(second))
        dynamodb.update_table(TableName=table[0], StreamSpecification={"StreamEnabled": False})
        enabled_anew(dynamodb, table[0])
    write(dynamodb, table[0], range(40, 50))
    process = consumer("--table", table[0])
    await_equal(lambda: len(list(read_archive(aws("s3"), bucket, "cdc", table[0]))) == 30)
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    process.terminate()
    assert process.wait(40) == 0


def enabled_anew(dynamodb: Any, table: str) -> str:
    specification = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    description = dynamodb.update_table(TableName=table, StreamSpecification=specification)["TableDescription"]
    return str(description["LatestStreamArn"])


def minute(stream_arn: str) -> str:
    return stream_arn.rsplit("T", 1)[1][:5]


def test_latest_passes_over_what_was_before_the_first_start_and_nothing_else(
    deployment: dict[str, str], consumer: Callable[..., Any], aws: Any, table: tuple[str, str], bucket: str
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    deployment["CDC_INITIAL_POSITION"] = "LATEST"
    first = consumer("--table", table[0])

    numbers = itertools.count(100)

    def reads() -> bool:
        number = next(numbers)
        write(dynamodb, table[0], range(number, number + 1))
        return bool(list(read_archive(aws("s3"), bucket, "cdc", table[0])))

    await_equal(reads)
    first.terminate()
    assert first.wait(40) == 0
    archived = [int(one.sequence) for one in read_archive(aws("s3"), bucket, "cdc", table[0])]
    before = [int(record["dynamodb"]["SequenceNumber"]) for record in in_stream(aws("dynamodbstreams"), table[1])]
    assert min(archived) > before[9]
    write(dynamodb, table[0], range(20, 30))
    last = int(in_stream(aws("dynamodbstreams"), table[1])[-1]["dynamodb"]["SequenceNumber"])
    second = consumer("--table", table[0])
    await_equal(lambda: any(int(o.sequence) == last for o in read_archive(aws("s3"), bucket, "cdc", table[0])))
    second.terminate()
    assert second.wait(40) == 0
    everything = [int(record["dynamodb"]["SequenceNumber"]) for record in in_stream(aws("dynamodbstreams"), table[1])]
    archived = [int(one.sequence) for one in read_archive(aws("s3"), bucket, "cdc", table[0])]
    assert archived == [number for number in everything if number >= min(archived)]


def test_one_stream_is_read_by_its_arn(
    consumer: Callable[..., Any], aws: Any, table: tuple[str, str], opensearch: Any, index: str
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    process = consumer("--stream-arn", table[1])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    process.terminate()
    assert process.wait(40) == 0


def test_two_consumers_of_one_worker_id_are_refused_on_one_host(
    consumer: Callable[..., Any], aws: Any, table: tuple[str, str], opensearch: Any, index: str, tmp_path: Path
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(3))
    consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    assert consumer("--table", table[0]).wait(60) == 2
    assert "CDC_WORKER_ID" in (tmp_path / "consumer.log").read_text()


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ({"StreamEnabled": False}, "has no stream"),
        ({"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}, "has the view KEYS_ONLY"),
    ],
    ids=["no stream", "a view that unless_only can't compare"],
)
def test_a_table_that_cannot_be_followed_is_refused_at_start(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    tmp_path: Path,
    specification: dict[str, Any],
    message: str,
) -> None:
    name = f"plain-{tmp_path.name}"[:60]
    aws("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        StreamSpecification=specification,
    )
    mapping = Path(deployment["CDC_MAPPINGS"])
    mapping.write_text(f"table: {name}\ndocuments: [{{index: {name}, unless_only: [seen]}}]")
    assert consumer("--table", name).wait(60) == 2
    assert message in (tmp_path / "consumer.log").read_text()


def test_a_table_that_is_not_there_is_refused_at_start(consumer: Callable[..., Any], tmp_path: Path) -> None:
    assert consumer("--table", "nobody").wait(60) == 2
    assert "there is no table 'nobody'" in (tmp_path / "consumer.log").read_text()


def test_three_tables_are_followed_in_one_process(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    bucket: str,
    opensearch: Any,
    tmp_path: Path,
) -> None:
    """One scheduler, one lease table; each table into an index of its own."""
    dynamodb = aws("dynamodb")
    names = [f"{kind}-{tmp_path.name[-20:]}".replace("_", "-") for kind in ("orders", "customers", "stock")]
    (tmp_path / "mapping.yml").unlink()
    for place, name in enumerate(names):
        make_table(dynamodb, name)
        (tmp_path / f"{name}.yml").write_text(f"table: {name}\ndocuments: [{{index: {name}}}]\n")
        write(dynamodb, name, range(place * 10, place * 10 + 15))
    deployment["CDC_MAPPINGS"] = ":".join(str(tmp_path / f"{name}.yml") for name in names)
    deployment["CDC_TABLES"] = ", ".join(names)
    process = consumer()
    for name in names:
        await_equal(partial(mirrored, opensearch, dynamodb, name), 150)
    for name in names:
        write(dynamodb, name, range(50, 60))
    for name in names:
        await_equal(partial(mirrored, opensearch, dynamodb, name), 150)
    process.terminate()
    assert process.wait(60) == 0
    assert all(list(read_archive(aws("s3"), bucket, "cdc", name)) for name in names)
    leases = dynamodb.scan(TableName=deployment["CDC_APPLICATION"])["Items"]
    assert sorted({lease["streamName"]["S"].split("$")[2] for lease in leases if "streamName" in lease}) == sorted(
        names
    )


def mirrored(opensearch: Any, dynamodb: Any, name: str) -> bool:
    return in_index(opensearch, name) == in_table(dynamodb, name)


def test_a_new_stream_of_a_table_is_found_by_a_running_consumer(
    consumer: Callable[..., Any], aws: Any, table: tuple[str, str], bucket: str, opensearch: Any, index: str
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    process = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]), 150)
    dynamodb.update_table(TableName=table[0], StreamSpecification={"StreamEnabled": False})
    await_equal(lambda: datetime.now(UTC).strftime("%H:%M") != minute(table[1]))  # else they can't be told apart
    enabled_anew(dynamodb, table[0])
    write(dynamodb, table[0], range(20, 30))
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]), 200)
    await_equal(lambda: len(list(read_archive(aws("s3"), bucket, "cdc", table[0]))) == 20)
    process.terminate()
    assert process.wait(60) == 0


def test_a_table_that_cannot_be_followed_is_named_among_several(
    consumer: Callable[..., Any], table: tuple[str, str], tmp_path: Path
) -> None:
    assert consumer("--table", table[0], "--table", "nobody").wait(60) == 2
    assert "there is no table 'nobody'" in (tmp_path / "consumer.log").read_text()


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("arn:aws:s3:::bucket", "is not the ARN of a DynamoDB stream"),
        (
            "arn:aws:dynamodb:us-east-1:000000000000:table/shop/stream/2026-01-01T00:00:00.000",
            "there is no stream arn:aws:dynamodb:us-east-1:000000000000:table/shop/stream/2026-01-01T00:00:00.000",
        ),
    ],
    ids=["of something else", "missing"],
)
def test_a_stream_that_cannot_be_read_is_refused_at_start(
    consumer: Callable[..., Any], tmp_path: Path, arn: str, message: str
) -> None:
    assert consumer("--stream-arn", arn).wait(60) == 2
    assert message in (tmp_path / "consumer.log").read_text()


def test_an_application_that_is_named_as_a_table_is_refused_at_the_start(
    deployment: dict[str, str], consumer: Callable[..., Any], table: tuple[str, str], tmp_path: Path
) -> None:
    deployment["CDC_APPLICATION"] = table[0]
    assert consumer("--table", table[0]).wait(60) == 2
    assert "a table of its own, with the keys pk, sk" in (tmp_path / "consumer.log").read_text()


def test_a_lease_table_that_may_not_be_made_is_refused_with_action_and_resource(
    deployment: dict[str, str], consumer: Callable[..., Any], table: tuple[str, str], tmp_path: Path
) -> None:
    """Nothing is denied on this machine: a stand-in says what AWS would."""
    arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{deployment['CDC_APPLICATION']}"

    def denied(operation: str, _asked: dict[str, Any]) -> tuple[str, str] | None:
        if operation != "CreateTable":
            return None
        return (
            "AccessDeniedException",
            f"User: arn:aws:iam::1:user/u is not authorized to perform: dynamodb:{operation} on resource: {arn}",
        )

    with standing_in(str(endpoint_of(deployment, "dynamodb")), denied) as url:
        deployment["AWS_ENDPOINT_URL_DYNAMODB"] = url
        assert consumer("--table", table[0]).wait(120) == 2
    assert f"not allowed to perform dynamodb:CreateTable on {arn}" in (tmp_path / "consumer.log").read_text()


def test_an_endpoint_that_does_not_answer_ends_the_start_within_a_minute(
    deployment: dict[str, str], consumer: Callable[..., Any], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        deployment["AWS_ENDPOINT_URL_DYNAMODB"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert consumer("--table", "shop").wait(60) == 1
    assert "AWS can't be asked for the table 'shop'" in (tmp_path / "consumer.log").read_text()
