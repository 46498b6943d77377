"""A deployment of a round: a table of its own, and consumers that are started, stopped, killed and frozen."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from local.demo.screen import Status
from local.demo.traffic import make_table
from local.process import ServerProcess, start
from tests.chaos.world import World

__all__ = ["Consumer", "Deployment"]

PATIENCE_SECONDS = 150.0
"""Longer than a fail-over of the KCL takes and than a busy machine needs for anything else."""


@dataclass
class Deployment:
    """The table `name` with its streams, the oldest first; bucket and index have its name."""

    world: World
    name: str
    streams: list[str]

    kinesis: str = ""
    """The ARN of the Kinesis stream that the consumer reads instead."""

    @classmethod
    def make(cls, world: World, *, streamed: bool = True) -> Deployment:
        """Table, bucket, mapping and a folder for logs. `streamed`: the table has a stream from the beginning."""
        name = f"chaos-{uuid4().hex[:8]}"
        view: Any = "NEW_AND_OLD_IMAGES" if streamed else None
        made = cls(world, name, [arn] if (arn := make_table(world.client("dynamodb"), name, view)) else [])
        world.client("s3").create_bucket(Bucket=name)
        made.folder.mkdir()
        (made.folder / "mapping.yml").write_text(f"table: {name}\ndocuments: [{{index: {name}}}]\n")
        return made

    @property
    def folder(self) -> Path:
        """Where the logs are."""
        return self.world.run / self.name

    @property
    def concrete_index(self) -> str:
        """The index behind the alias."""
        return f"{self.name}-v1"

    @property
    def lease_table(self) -> str:
        """The KCL's application, and its table."""
        return f"{self.name}-leases"

    def worker_id(self, worker: str) -> str:
        """The worker's id, in the KCL's words."""
        return f"{self.name}-{worker}"

    def environment(self, worker: str) -> dict[str, str]:
        """A consumer's; impatient, so that faults are met and left within seconds."""
        return {
            **self.world.environment(),
            "CDC_MAPPINGS": str(self.folder / "mapping.yml"),
            "CDC_ARCHIVE_BUCKET": self.name,
            "CDC_DEAD_LETTER_BUCKET": self.name,
            "CDC_KCL_PROFILE": "local",
            "CDC_FLUSH_SECONDS": "1",
            "CDC_MAX_RECORDS": "300",
            "CDC_OPENSEARCH_TIMEOUT_SECONDS": "3",
            "CDC_RETRY_WAIT_MAX_SECONDS": "2",
            "CDC_APPLICATION": self.lease_table,
            "TMPDIR": str(self.folder),  # for the lock files of worker ids
            "CDC_WORKER_ID": self.worker_id(worker),
        }

    def assign_lease(self, worker: str) -> None:
        """Give every lease to a worker, by the same write to the lease table as the KCL's leader makes."""
        dynamodb: Any = self.world.client("dynamodb")
        for lease in dynamodb.scan(TableName=self.lease_table, ConsistentRead=True)["Items"]:
            dynamodb.update_item(
                TableName=self.lease_table,
                Key={"leaseKey": lease["leaseKey"]},
                UpdateExpression="SET leaseOwner = :worker ADD leaseCounter :one",
                ExpressionAttributeValues={":worker": {"S": self.worker_id(worker)}, ":one": {"N": "1"}},
            )


@dataclass
class Consumer:
    """`cdc run` as a process; each start is under the same worker id and goes on with the same log."""

    deployment: Deployment
    worker: str
    process: ServerProcess | None = None
    _starts: int = field(default=0)

    @property
    def log_path(self) -> Path:
        """The log of all its starts."""
        return self.deployment.folder / f"{self.worker}.log"

    @property
    def running(self) -> ServerProcess:
        """The process."""
        assert self.process is not None
        return self.process

    def start(self) -> None:
        """Start it, and return when it is about to read."""
        mark = self.mark()
        kinesis = self.deployment.kinesis
        following = ["--kinesis-stream-arn", kinesis] if kinesis else ["--table", self.deployment.name]
        following += ["--status-file", str(self._status)]
        self.process = start(
            f"the consumer {self.worker}",
            [sys.executable, "-m", "consumers.cli.main", "run", *following],
            self.deployment.environment(self.worker),
            self.deployment.folder,
            self.log_path,
        )
        self.await_log("consuming as worker", mark)

    def stop(self) -> int:
        """Ask it to end in order, and await it; its exit code."""
        self.running.server.terminate()
        return self.running.supervisor.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """Kill it, like a crash or the kernel's want of memory would."""
        self.running.kill()

    def freeze(self) -> None:
        """It stops where it is, a request under way or not."""
        self.running.server.suspend()

    def thaw(self) -> None:
        """It goes on as if no time had passed."""
        self.running.server.resume()

    @property
    def is_running(self) -> bool:
        """Has it been started, and not ended?"""
        return self.process is not None and self.process.supervisor.poll() is None

    @property
    def settled(self) -> int:
        """How many records it has settled, replays included."""
        return Status.read(self._status).settled

    @property
    def superseded(self) -> int:
        """How many changes found a newer state in the index."""
        return Status.read(self._status).indexed["superseded"]

    @property
    def _status(self) -> Path:
        return self.deployment.folder / f"{self.worker}.jsonl"

    def mark(self) -> int:
        """Where the log ends now."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def said(self, pattern: str, since: int) -> bool:
        """Does the log have it, after `since`?"""
        with self.log_path.open("rb") as log:
            log.seek(since)
            return re.search(pattern, log.read().decode(errors="replace")) is not None

    def await_log(self, pattern: str, since: int) -> None:
        """Return when the log has it, after `since`."""
        self.until(lambda: self.said(pattern, since), f"log: {pattern}")

    def await_progress(self, records: int = 1) -> None:
        """Return when it has settled so many more."""
        wanted = self.settled + records
        self.until(lambda: self.settled >= wanted, f"{records} records more")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds.

        Raises:
            ServerFailed: the consumer ends before, or it takes too long.
        """
        self.running.wait_until(condition, PATIENCE_SECONDS)
