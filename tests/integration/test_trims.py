"""A stream that keeps nothing for longer than a day: the real KCL meets what is gone, while it runs and at a start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_gaps import consumer, letters
from tests.integration.test_splits import World, streamed
from tests.integration.test_whole_way import await_equal, deployment

__all__ = ["consumer", "deployment", "streamed"]

pytestmark = pytest.mark.turn("gap")

HOURS = 3600.0
TRIMMED = "records were trimmed before they were read; everything after sequence number {} may be missing"


def errors_of(folder: Path) -> list[str]:
    """The last words of consumers that ended, one a process."""
    lines = (folder / "consumer.log").read_text().splitlines()
    return [line for line in lines if line.startswith("error: ")]


def goes_on(deployment: dict[str, str], consumer: Callable[..., Any], world: World, until: Callable[[], bool]) -> None:
    """A consumer that may pass over gaps gets so far, and ends in order."""
    deployment["CDC_ON_GAP"] = "continue"
    process = consumer("--table", world.table.name)
    await_equal(until)
    process.terminate()
    assert process.wait(60) == 0


def test_records_trimmed_while_the_consumer_runs_stop_it_at_each_start_until_it_may_go_on(
    streamed: Callable[..., World],
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    bucket: str,
    tmp_path: Path,
) -> None:
    deployment["CDC_SHUTDOWN_SECONDS"] = "5"  # for a shard that can't even begin to be read a stop waits in vain
    world = streamed()
    table = world.table
    table.write(range(10))
    process = consumer("--table", table.name)
    await_equal(world.is_acknowledged)
    (shard,) = table.shards
    last = shard.records[-1].sequence
    with table.at_once():
        table.write(range(20))
        table.let_pass(25 * HOURS)
        table.write(range(20, 60))
    assert process.wait(60) == 1
    assert consumer("--table", table.name).wait(60) == 1
    errors = errors_of(tmp_path)
    assert len(errors) == 2
    assert all(TRIMMED.format(last) in error for error in errors)
    assert (tmp_path / "consumer.log").read_text().count("→ CDC_ON_GAP=continue") == 2
    assert not world.is_equal()
    assert letters(aws, bucket) == []

    goes_on(deployment, consumer, world, world.is_equal)
    (letter,) = letters(aws, bucket)
    assert (letter.sink, letter.table, letter.stream, letter.sequence) == ("stream", table.name, table.arn, last)
    assert letter.record == {"shard": shard.id, "after": last, "wholeShard": False}
    assert world.archived() == sorted(table.identities[:10] + table.identities[shard.trimmed :])


def test_a_shard_that_is_gone_at_the_start_stops_the_consumer_which_goes_on_with_its_child(
    streamed: Callable[..., World],
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    bucket: str,
    tmp_path: Path,
) -> None:
    world = streamed(ahead=-26 * HOURS)
    table = world.table
    table.write(range(10))
    process = consumer("--table", table.name)
    await_equal(world.is_equal)
    process.terminate()
    assert process.wait(60) == 0
    (parent,) = table.shards
    last = parent.records[-1].sequence
    table.write(range(20))
    table.roll(parent)
    table.let_pass(25 * HOURS)
    kept = len(table.identities)
    table.write(range(20, 60))
    assert consumer("--table", table.name).wait(60) == 1
    (error,) = errors_of(tmp_path)
    assert f"the shard is gone; everything after sequence number {last} may be missing" in error

    goes_on(deployment, consumer, world, world.is_equal)
    (letter,) = letters(aws, bucket)
    assert letter.record == {"shard": parent.id, "after": last, "wholeShard": True}
    assert world.archived() == sorted(table.identities[:10] + table.identities[kept:])


def test_a_child_that_was_never_begun_and_whose_beginning_is_trimmed_stops_the_consumer(
    streamed: Callable[..., World],
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    aws: Any,
    bucket: str,
    tmp_path: Path,
) -> None:
    """A lease at the beginning of a shard has no number that could be found trimmed."""
    deployment["CDC_KCL_DYNAMO_DB_LOCK_BASED_LEADER_LEASE_DURATION_IN_MILLIS"] = "4000"  # the dead one leads till then
    deployment["CDC_KCL_DYNAMO_DB_LOCK_BASED_LEADER_HEARTBEAT_PERIOD_IN_MILLIS"] = "1000"
    world = streamed(ahead=-26 * HOURS)
    table = world.table
    table.write(range(10))
    process = consumer("--table", table.name)
    await_equal(world.is_acknowledged)
    (parent,) = table.shards

    def killing(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "GetShardIterator" and asked["ShardId"] != parent.id:
            process.kill()

    with table.at_once():
        child = table.roll(parent)
        table.write(range(10, 20))
        table.server.meanwhile = killing
    assert process.wait(90) == -9
    table.server.meanwhile = None
    kept = len(table.identities)
    table.let_pass(25 * HOURS)
    table.write(range(20, 40))
    assert consumer("--table", table.name).wait(90) == 1
    (error,) = errors_of(tmp_path)
    assert f"a gap in {child.id}" in error
    assert "records were trimmed before they were read; everything from its beginning may be missing" in error

    archived = sorted(table.identities[:10] + table.identities[kept:])
    goes_on(deployment, consumer, world, lambda: world.archived() == archived)
    (letter,) = letters(aws, bucket)
    assert letter.record == {"shard": child.id, "after": "", "wholeShard": False}
