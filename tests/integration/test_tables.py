"""Tables are added to a running application and taken from it: its workers follow different tables meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdc.archive import read_archive
from consumers.kcl.leases.handover import StoredLease, stored_leases
from local.demo.traffic import make_table
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_stream, in_table, write

__all__ = ["deployment"]

pytestmark = pytest.mark.turn("tables")

PATIENCE_SECONDS = 150.0


@dataclass
class Application:
    """Workers of one application, each with a list of tables of its own; `users` and `shop` are its tables."""

    deployment: dict[str, str]
    folder: Path
    aws: Any
    opensearch: Any
    names: dict[str, str]
    streams: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, worker: str, *tables: str) -> subprocess.Popen[bytes]:
        arguments = [part for table in tables for part in ("--table", self.names[table])]
        mappings = ":".join(str(self.folder / f"{table}.yml") for table in tables)
        with (self.folder / f"{worker}.log").open("ab") as log:
            self.processes[worker] = subprocess.Popen(
                [sys.executable, "-m", "consumers.cli.main", "run", *arguments],
                env={**os.environ, **self.deployment, "CDC_WORKER_ID": worker, "CDC_MAPPINGS": mappings},
                stdout=log,
                stderr=log,
            )
        return self.processes[worker]

    def stop(self, worker: str) -> None:
        self.processes[worker].terminate()
        assert self.processes[worker].wait(60) == 0, self.log(worker)

    def log(self, worker: str) -> str:
        return (self.folder / f"{worker}.log").read_text()

    def write(self, table: str, numbers: range) -> None:
        write(self.aws("dynamodb"), self.names[table], numbers)

    def mirrored(self, table: str) -> bool:
        name = self.names[table]
        return in_index(self.opensearch, name) == in_table(self.aws("dynamodb"), name)

    def await_mirrored(self, *tables: str) -> None:
        for table in tables:
            await_equal(partial(self.mirrored, table), PATIENCE_SECONDS)

    def leases(self, table: str) -> list[StoredLease]:
        found = stored_leases(self.aws("dynamodb"), self.deployment["CDC_APPLICATION"])
        return [lease for lease in found if f"${self.names[table]}$" in lease.stream]

    def owners(self, table: str) -> set[str | None]:
        return {lease.owner for lease in self.leases(table) if not lease.ended}

    def give(self, table: str, worker: str) -> None:
        """Give the leases to a worker, as the KCL's leader does, that does not know who follows which table."""
        for lease in self.leases(table):
            self.aws("dynamodb").update_item(
                TableName=self.deployment["CDC_APPLICATION"],
                Key={"leaseKey": {"S": lease.key}},
                UpdateExpression="SET leaseOwner = :worker, leaseCounter = leaseCounter + :one",
                ExpressionAttributeValues={":worker": {"S": worker}, ":one": {"N": "1"}},
            )

    def archived_as_written(self, table: str, bucket: str) -> bool:
        """Has the archive each record of the stream, once?"""
        archived = [one.sequence for one in read_archive(self.aws("s3"), bucket, "cdc", self.names[table])]
        records = in_stream(self.aws("dynamodbstreams"), self.streams[table])
        return archived == [record["dynamodb"]["SequenceNumber"] for record in records]

    def cdc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "consumers.cli.main", *arguments],
            env={**os.environ, **self.deployment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def application(deployment: dict[str, str], aws: Any, opensearch: Any, tmp_path: Path) -> Iterator[Application]:
    """An application with nothing running."""
    suffix = deployment["CDC_APPLICATION"]
    names = {kind: f"{kind}-{suffix}" for kind in ("users", "shop")}
    streams = {kind: make_table(aws("dynamodb"), name) for kind, name in names.items()}
    for kind, name in names.items():
        (tmp_path / f"{kind}.yml").write_text(f"table: {name}\ndocuments: [{{index: {name}}}]\n")
    made = Application(deployment, tmp_path, aws, opensearch, names, streams)
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def test_a_table_is_added_by_a_rolling_update_in_which_no_worker_ends(application: Application, bucket: str) -> None:
    application.write("users", range(20))
    old = application.start("one", "users")
    application.await_mirrored("users")
    application.write("shop", range(20))
    application.start("two", "users", "shop")
    application.await_mirrored("shop")
    assert application.owners("shop") == {"two"}
    application.write("users", range(20, 40))
    application.write("shop", range(20, 40))
    application.await_mirrored("users", "shop")
    assert old.poll() is None
    application.stop("one")
    application.start("one", "users", "shop")
    application.stop("two")
    application.write("users", range(40, 50))
    application.write("shop", range(40, 50))
    application.await_mirrored("users", "shop")
    for table in ("users", "shop"):
        await_equal(partial(application.archived_as_written, table, bucket), 60)
    application.stop("one")


def test_a_lease_that_is_given_to_a_worker_which_does_not_follow_its_table_goes_to_one_that_does(
    application: Application, bucket: str
) -> None:
    application.write("shop", range(10))
    application.start("two", "users", "shop")
    application.await_mirrored("shop")
    await_equal(lambda: {lease.follower for lease in application.leases("shop")} == {"two"}, 60)
    other = application.start("one", "users")
    await_equal(lambda: "consuming as worker" in application.log("one"), 60)
    application.give("shop", "one")
    await_equal(lambda: application.owners("shop") == {"two"}, 60)
    application.write("shop", range(10, 30))
    application.await_mirrored("shop")
    assert "which this worker does not follow: handed to two" in application.log("one")
    assert other.poll() is None
    await_equal(partial(application.archived_as_written, "shop", bucket), 60)


def test_a_worker_starts_after_a_table_was_taken_away_and_goes_on_where_it_was_when_the_table_is_back(
    application: Application, bucket: str
) -> None:
    for table in ("users", "shop"):
        application.write(table, range(10))
    application.start("one", "users", "shop")
    application.await_mirrored("users", "shop")
    application.stop("one")
    application.write("users", range(10, 20))
    application.write("shop", range(10, 20))
    application.start("one", "users")
    application.await_mirrored("users")
    before = {lease.key: lease.checkpoint for lease in application.leases("shop")}
    application.stop("one")
    assert {lease.key: lease.checkpoint for lease in application.leases("shop")} == before
    application.start("one", "users", "shop")
    application.await_mirrored("shop")
    await_equal(partial(application.archived_as_written, "shop", bucket), 60)
    application.stop("one")


def test_leases_are_forgotten_of_a_table_that_no_live_worker_reads_and_of_no_other(application: Application) -> None:
    for table in ("users", "shop"):
        application.write(table, range(10))
    application.start("one", "users", "shop")
    application.await_mirrored("users", "shop")
    application.stop("one")
    application.start("one", "users")
    application.write("users", range(10, 20))
    application.await_mirrored("users")  # the worker lives; its leases are from before it was stopped
    refused = application.cdc("leases", "forget", "--table", application.names["users"])
    assert refused.returncode == 1
    assert "the worker one reads" in refused.stderr
    assert application.leases("users")
    listed = json.loads(application.cdc("leases", "list", "--json").stdout)
    assert {lease["table"] for lease in listed["leases"]} == set(application.names.values())
    forgotten = application.cdc("leases", "forget", "--table", application.names["shop"], "--json")
    assert forgotten.returncode == 0, forgotten.stderr
    assert json.loads(forgotten.stdout)["forgotten"]
    assert application.leases("shop") == []
    assert application.leases("users")
    application.stop("one")
