"""Shards that split and roll while they are written: the real KCL reads each after its parent, whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc.archive import read_archive
from cdc.testing import SimulatedShard
from tests.integration.functions import working
from tests.integration.streamed_table import StreamedTable
from tests.integration.test_gaps import consumer
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_table

__all__ = ["consumer", "deployment", "streamed"]


class World:
    """A table whose stream splits, and what its consumer made of it."""

    def __init__(
        self,
        table: StreamedTable,
        dynamodb: Any,
        opensearch: Any,
        s3: Any,
        deployment: dict[str, str],
        index: str,
    ) -> None:
        self.table = table
        self._dynamodb = dynamodb
        self._opensearch = opensearch
        self._index = index
        self._s3 = s3
        self._bucket = deployment["CDC_ARCHIVE_BUCKET"]
        self._application = deployment["CDC_APPLICATION"]

    def is_equal(self) -> bool:
        """Does the index hold what the table holds?"""
        return in_index(self._opensearch, self._index) == in_table(self._dynamodb, self.table.name)

    def is_acknowledged(self) -> bool:
        """Does each lease stand at its shard's last record, too? Then a start reads on behind it."""
        if not self.is_equal():
            return False
        leases = [one for one in self._dynamodb.scan(TableName=self._application)["Items"] if "streamName" in one]
        checkpoints = {lease["shardId"]["S"]: lease["checkpoint"]["S"] for lease in leases}
        return checkpoints == {shard.id: shard.records[-1].sequence for shard in self.table.shards}

    def archived(self) -> list[str]:
        """The identities of the archive's lines, in order."""
        return sorted(one.identity for one in read_archive(self._s3, self._bucket, "cdc", self.table.name))

    def letters(self) -> int:
        """How many dead letters there are."""
        return int(self._s3.list_objects_v2(Bucket=self._bucket, Prefix="dead-letters")["KeyCount"])

    def was_read(self, *shards: SimulatedShard) -> bool:
        """Did each shard give records?"""
        read = {one.shard for one in self.table.answered if one.records}
        return read.issuperset(shard.id for shard in shards)


@pytest.fixture
def streamed(
    deployment: dict[str, str],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> Iterator[Callable[..., World]]:
    """Makes the world of `table`, once: arguments as `StreamedTable` takes them."""
    with ExitStack() as running:

        def make(**facts: Any) -> World:
            made = StreamedTable(aws("dynamodb"), *table, **facts)
            deployment["AWS_ENDPOINT_URL_DYNAMODB_STREAMS"] = running.enter_context(made.server.running())
            return World(made, aws("dynamodb"), opensearch, aws("s3"), deployment, index)

        yield make


def written_meanwhile(table: StreamedTable, first: int) -> AbstractContextManager[None]:
    """The table is written as fast as it can be, until the block ends."""

    def write(stop: threading.Event) -> None:
        number = first
        while not stop.is_set():
            table.write(range(number, number + 1))
            number += 1

    return working(write)


def assert_parents_first(table: StreamedTable, status: Path) -> None:
    """No child was asked for before its parent gave its last batch, and no record of a child was settled before the
    last of its parent."""
    settled = [(line["shard"], line["settled"]) for line in lines_of(status) if line.get("settled")]
    answered = table.answered
    ends = {one.shard: place for place, one in enumerate(answered) if one.ended}
    children = [shard for shard in table.shards if shard.parents]
    assert len(children) > 5
    for child in children:
        (parent,) = child.parents
        asked = [place for place, one in enumerate(answered) if one.kind and one.shard == child.id]
        assert ends[parent.id] < asked[0]
        before = [count for shard, count in takewhile(lambda line: line[0] != child.id, settled) if shard == parent.id]  # noqa: B023
        assert sum(before) == len(parent.records)


def lines_of(status: Path) -> list[dict[str, Any]]:
    """The lines of the status file."""
    return [orjson.loads(line) for line in status.read_bytes().splitlines()]


def test_shards_that_split_and_roll_under_load_are_read_after_their_parents(
    streamed: Callable[..., World], consumer: Callable[..., Any], tmp_path: Path
) -> None:
    """Iterators expire in between. The shards' last batches come without a next iterator."""
    world = streamed(shards=2)
    table, status = world.table, tmp_path / "status.jsonl"
    table.write(range(60))
    process = consumer("--table", table.name, "--status-file", str(status))
    with written_meanwhile(table, 60):
        await_equal(lambda: world.was_read(*table.shards))
        left, right = table.open_shards
        inner, _ = table.split(left)
        table.roll(right)
        await_equal(lambda: world.was_read(*table.open_shards))
        table.let_pass(16 * 60)
        await_equal(lambda: any(one.refused == "ExpiredIteratorException" for one in table.answered))
        rolled = table.roll(inner)
        table.split(rolled)
        await_equal(lambda: world.was_read(*table.open_shards))
    await_equal(world.is_equal)
    process.terminate()
    assert process.wait(60) == 0
    assert world.archived() == sorted(table.identities)
    assert world.letters() == 0
    assert any(one.ended and one.records for one in table.answered)
    assert_parents_first(table, status)
    assert "Caught exception" not in (tmp_path / "consumer.log").read_text()


def test_a_consumer_killed_within_the_last_batch_of_a_shard_reads_it_again_and_then_its_children(
    streamed: Callable[..., World], deployment: dict[str, str], consumer: Callable[..., Any]
) -> None:
    deployment["CDC_KCL_DYNAMO_DB_LOCK_BASED_LEADER_LEASE_DURATION_IN_MILLIS"] = "4000"  # the dead one leads till then
    deployment["CDC_KCL_DYNAMO_DB_LOCK_BASED_LEADER_HEARTBEAT_PERIOD_IN_MILLIS"] = "1000"
    world = streamed()
    table = world.table
    table.write(range(40))
    process = consumer("--table", table.name)
    await_equal(world.is_acknowledged)

    (parent,) = table.shards
    with table.at_once():
        table.write(range(40, 90))
        table.roll(parent)
        table.write(range(90, 100))
        table.server.meanwhile = lambda _operation, _asked: process.kill() if table.answered[-1].ended else None
    assert process.wait(60) == -9
    table.server.meanwhile = None
    before = table.answered
    assert [one.records for one in before if one.ended] == [50]
    assert not world.is_equal()
    (child,) = table.open_shards
    children = table.split(child)
    table.write(range(100, 150))

    process = consumer("--table", table.name)
    await_equal(world.is_equal)
    process.terminate()
    assert process.wait(60) == 0
    assert world.archived() == sorted(table.identities)
    assert world.letters() == 0
    begun = {one.shard: one.kind for one in table.answered[len(before) :] if one.kind}
    assert begun.pop(parent.id) in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
    assert begun == {shard.id: "TRIM_HORIZON" for shard in (child, *children)}


def test_from_the_latest_on_children_are_read_from_their_beginning(
    streamed: Callable[..., World], deployment: dict[str, str], consumer: Callable[..., Any]
) -> None:
    deployment["CDC_INITIAL_POSITION"] = "LATEST"
    world = streamed()
    table = world.table
    table.write(range(40))
    before = len(table.identities)
    process = consumer("--table", table.name)
    await_equal(lambda: any(one.kind == "LATEST" for one in table.answered))
    with table.at_once():
        inner, _ = table.split(table.shards[0])
        table.write(range(40, 60))
        table.roll(inner)
        table.write(range(60, 80))
    await_equal(lambda: world.was_read(*table.open_shards))
    table.write(range(80, 100))
    await_equal(lambda: world.archived() == sorted(table.identities[before:]))
    process.terminate()
    assert process.wait(60) == 0


def test_a_stream_of_more_shards_than_a_page_holds_that_splits_between_two_pages(
    streamed: Callable[..., World], consumer: Callable[..., Any], tmp_path: Path
) -> None:
    world = streamed(shards=2, shards_per_page=2)
    table, status = world.table, tmp_path / "status.jsonl"
    for number in range(3):
        table.write(range(number * 40, number * 40 + 40))
        table.split(table.open_shards[-1])
    table.write(range(120, 160))
    first = table.shards[0]

    def split_once(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "DescribeStream" and asked.get("ExclusiveStartShardId"):
            table.server.meanwhile = None
            table.split(first)  # which the page before told to be open

    table.server.meanwhile = split_once
    process = consumer("--table", table.name, "--status-file", str(status))
    await_equal(world.is_equal)
    assert first.closed
    table.write(range(160, 200))
    await_equal(world.is_equal)
    process.terminate()
    assert process.wait(60) == 0
    assert len(table.shards) == 10
    assert world.archived() == sorted(table.identities)
    assert_parents_first(table, status)
