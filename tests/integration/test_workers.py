"""Workers that share a stream's leases: as many as there are shards, that come, end in order, and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from cdc.archive import read_archive
from cdc.testing import Delayed, TcpProxy
from local.servers import Servers
from tests.integration.test_kinesis import (
    KinesisStream,
    StreamedTable,
    archived,
    by_item,
    deployment,
    indexed,
    kinesis,
    mapped,
    write,
)
from tests.integration.test_whole_way import await_equal

__all__ = ["deployment", "kinesis"]

PATIENCE_SECONDS = 200.0
"""Longer than any fail-over takes on a busy machine."""


@dataclass
class Workers:
    """Processes of one application, each under a worker id of its own."""

    deployment: dict[str, str]
    arguments: tuple[str, ...]
    folder: Path
    dynamodb: Any
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.deployment, "CDC_WORKER_ID": name}
        command = [sys.executable, "-m", "consumers.cli.main", "run", *self.arguments]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        return self.processes[name]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def owners(self) -> Counter[str]:
        """How many open leases each worker has."""
        try:
            leases = self.dynamodb.scan(TableName=self.deployment["CDC_APPLICATION"], ConsistentRead=True)["Items"]
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return Counter()
        return Counter(
            lease["leaseOwner"]["S"]
            for lease in leases
            if "leaseOwner" in lease and lease["checkpoint"]["S"] != "SHARD_END"
        )

    def checkpoints(self) -> dict[str, str]:
        """The last acknowledged sequence number of each shard that has one."""
        leases = self.dynamodb.scan(TableName=self.deployment["CDC_APPLICATION"], ConsistentRead=True)["Items"]
        found = {lease["shardId"]["S"]: lease["checkpoint"]["S"] for lease in leases if "shardId" in lease}
        return {shard: number for shard, number in found.items() if number.isdecimal()}

    def share(self, leases: int, least: int) -> Callable[[], bool]:
        """Have at least so many workers all of the leases? The KCL balances by load: shards where little is written may
        stay two to a worker beside one that has none."""

        def shared() -> bool:
            owners = self.owners()
            return owners.total() == leases and len(owners) >= least

        return shared


@pytest.fixture
def workers(deployment: dict[str, str], kinesis: KinesisStream, aws: Any, tmp_path: Path) -> Iterator[Workers]:
    """Workers of a stream of four shards."""
    made = Workers(deployment, ("--kinesis-stream-arn", kinesis.arn), tmp_path, aws("dynamodb"))
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


@pytest.fixture
def orders(kinesis: KinesisStream, deployment: dict[str, str]) -> StreamedTable:
    """A table that is indexed, joined to the stream."""
    return kinesis.table(mapped(deployment, f"orders-{kinesis.name}"))


@pytest.mark.turn("workers")
def test_three_workers_share_the_shards_and_one_that_ends_in_order_gives_its_own_away(
    workers: Workers, orders: StreamedTable, opensearch: Any, aws: Any, bucket: str
) -> None:
    write(orders, range(40))
    workers.start("one")
    await_equal(workers.share(4, 1), PATIENCE_SECONDS)
    workers.start("two")
    workers.start("three")
    await_equal(workers.share(4, 2), PATIENCE_SECONDS)
    write(orders, range(40, 120))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    ended = time.monotonic()
    workers.processes["one"].terminate()
    assert workers.processes["one"].wait(60) == 0
    await_equal(lambda: workers.share(4, 1)() and "one" not in workers.owners(), PATIENCE_SECONDS)
    print(f"the leases of a worker that ended in order were taken after {time.monotonic() - ended:.0f} s")
    write(orders, range(120, 200))
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    for name in ("two", "three"):
        workers.processes[name].terminate()
    assert [workers.processes[name].wait(60) for name in ("two", "three")] == [0, 0]
    assert archived(aws, bucket, orders) == by_item(orders.written)


@pytest.mark.turn("workers")
def test_the_shards_of_a_worker_that_is_killed_are_taken_over_from_their_checkpoints(
    workers: Workers, orders: StreamedTable, opensearch: Any, aws: Any, bucket: str
) -> None:
    write(orders, range(40))
    workers.start("one")
    await_equal(workers.share(4, 1), PATIENCE_SECONDS)
    workers.start("two")
    await_equal(workers.share(4, 2), PATIENCE_SECONDS)
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    killed = time.monotonic()
    workers.processes["one"].kill()
    write(orders, range(40, 120))
    await_equal(lambda: workers.owners() == {"two": 4}, PATIENCE_SECONDS)
    print(f"the leases of a worker that was killed, the leader, were taken after {time.monotonic() - killed:.0f} s")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    workers.processes["two"].terminate()
    assert workers.processes["two"].wait(60) == 0
    assert archived(aws, bucket, orders) == by_item(orders.written)


def test_a_worker_that_starts_again_under_its_id_has_its_shards_at_once(
    workers: Workers, orders: StreamedTable, opensearch: Any
) -> None:
    write(orders, range(40))
    first = workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    first.kill()
    first.wait()
    write(orders, range(40, 80))
    started = time.monotonic()
    workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    print(f"everything was indexed {time.monotonic() - started:.0f} s after the start under the same id")


def test_a_stop_in_the_middle_of_a_batch_acknowledges_what_is_durable_and_nothing_else(
    workers: Workers, orders: StreamedTable, kinesis: KinesisStream, opensearch: Any, aws: Any, bucket: str
) -> None:
    """Bulk requests of two changes: a batch is many requests, and the signal comes between them."""
    workers.deployment.update(CDC_BULK_COUNT="2", CDC_FLUSH_SECONDS="600")
    write(orders, range(600))
    first = workers.start("one")
    await_equal(lambda: bool(indexed(opensearch, orders.name)), PATIENCE_SECONDS)
    first.terminate()
    assert first.wait(60) == 0
    durable = {one.sequence for one in read_archive(aws("s3"), bucket, "cdc", orders.name)}
    acknowledged = {number for shard, last in workers.checkpoints().items() for number in up_to(kinesis, shard, last)}
    assert acknowledged
    assert acknowledged <= durable
    workers.deployment.update(CDC_BULK_COUNT="1000", CDC_FLUSH_SECONDS="1")
    workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    await_equal(lambda: archived(aws, bucket, orders) == by_item(orders.written), 60)


def up_to(kinesis: KinesisStream, shard: str, last: str) -> list[str]:
    """The sequence numbers of a shard up to a checkpoint."""
    client = kinesis.client
    asked = {"StreamARN": kinesis.arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    page = client.get_records(ShardIterator=client.get_shard_iterator(**asked)["ShardIterator"], Limit=10_000)
    return [one["SequenceNumber"] for one in page["Records"] if int(one["SequenceNumber"]) <= int(last)]


@pytest.fixture
def hanging(servers: Servers, deployment: dict[str, str]) -> Iterator[TcpProxy]:
    """OpenSearch behind a proxy that can hang."""
    url = urlsplit(deployment["CDC_OPENSEARCH_ENDPOINT"])
    with TcpProxy(str(url.hostname), int(url.port or 80)) as proxy:
        deployment["CDC_OPENSEARCH_ENDPOINT"] = proxy.url
        yield proxy


def test_a_second_signal_ends_at_once_and_loses_nothing_that_was_acknowledged(
    hanging: TcpProxy, workers: Workers, orders: StreamedTable, opensearch: Any, aws: Any, bucket: str
) -> None:
    """The first stop waits for a request that hangs."""
    write(orders, range(20))
    process = workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    with hanging.injecting(Delayed(120), share=1.0):
        write(orders, range(20, 60))
        await_equal(lambda: hanging.struck["Delayed"] > 0, 60)
        process.send_signal(signal.SIGTERM)
        await_equal(lambda: "stopping: " in workers.log("one"), 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    assert "second signal: ending at once" in workers.log("one")
    workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    await_equal(lambda: archived(aws, bucket, orders) == by_item(orders.written), 60)


def test_a_stop_ends_within_its_budget_though_a_request_hangs(
    hanging: TcpProxy, workers: Workers, orders: StreamedTable, opensearch: Any
) -> None:
    workers.deployment["CDC_SHUTDOWN_SECONDS"] = "5"
    write(orders, range(20))
    process = workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
    with hanging.injecting(Delayed(120), share=1.0):
        write(orders, range(20, 60))
        await_equal(lambda: hanging.struck["Delayed"] > 0, 60)
        process.terminate()
        process.wait(30)
    assert "the stop took longer than 5 s" in workers.log("one")
    workers.start("one")
    await_equal(lambda: indexed(opensearch, orders.name) == orders.stands(), PATIENCE_SECONDS)
