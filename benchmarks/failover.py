"""`python -m benchmarks.failover` (`make failover`): two consumers, one shard; how long until the next change is found
after the one that reads it has ended?"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from cdc.errors import CdcError
from local.demo.traffic import make_table
from local.process import ServerProcess, start
from local.servers import Servers, running

_PATIENCE_SECONDS = 150.0
_WORKERS = ("one", "two")


@dataclass
class _Fleet:
    """Two consumers of a table, under the worker ids `one` and `two`."""

    servers: Servers
    table: str
    dynamodb: Any
    opensearch: Any
    processes: dict[str, ServerProcess] = field(default_factory=dict)

    def start(self, worker: str) -> None:
        """Start a consumer under this worker id."""
        log = self.servers.run / f"{worker}-{uuid4().hex[:6]}.log"
        command = [sys.executable, "-m", "consumers", "run", "--table", self.table]
        self.processes[worker] = start(worker, command, self._environment(worker), self.servers.run, log)

    def await_start(self, worker: str) -> None:
        """Return when the KCL runs in it."""
        process = self.processes[worker]
        process.wait_until(lambda: "consuming as worker" in process.tail(), _PATIENCE_SECONDS)

    def _environment(self, worker: str) -> dict[str, str]:
        mapping = self.servers.run / f"{self.table}.yml"
        mapping.write_text(f"table: {self.table}\ndocuments: [{{index: {self.table}}}]\n")
        return {
            **self.servers.environment(),
            "CDC_MAPPINGS": str(mapping),
            "CDC_DEAD_LETTER_BUCKET": self.table,
            "CDC_APPLICATION": f"{self.table}-leases",
            "CDC_KCL_PROFILE": "local",
            "CDC_JVM_HEAP": "128m",
            "CDC_WORKER_ID": f"{self.table}-{worker}",
        }

    def owner(self) -> str:
        """The worker that holds the shard's lease."""
        leases = self.dynamodb.scan(TableName=f"{self.table}-leases", ConsistentRead=True)["Items"]
        owners = {lease["leaseOwner"]["S"] for lease in leases if "leaseOwner" in lease}
        return next(worker for worker in _WORKERS if f"{self.table}-{worker}" in owners)

    def seconds_to_find_a_write(self) -> float:
        """Write an item; the seconds until a search finds it."""
        marker = uuid4().hex
        began = time.monotonic()
        self.dynamodb.put_item(TableName=self.table, Item={"pk": {"S": marker}, "sk": {"S": "probe"}})
        while time.monotonic() - began < _PATIENCE_SECONDS:
            answer = self.opensearch.search(index=self.table, q=f"pk:{marker}", params={"ignore_unavailable": "true"})
            if answer["hits"]["total"]["value"]:
                return time.monotonic() - began
            time.sleep(0.05)
        raise CdcError(f"a write was not found within {_PATIENCE_SECONDS:.0f} s")

    def stop(self) -> None:
        """Stop both."""
        for process in self.processes.values():
            process.stop()


def _killed_and_started_again(fleet: _Fleet, owner: str) -> float:
    fleet.processes[owner].kill()
    fleet.start(owner)
    return fleet.seconds_to_find_a_write()


def _stopped(fleet: _Fleet, owner: str) -> float:
    fleet.processes[owner].server.send_signal(signal.SIGTERM)
    return fleet.seconds_to_find_a_write()


def _killed(fleet: _Fleet, owner: str) -> float:
    fleet.processes[owner].kill()
    return fleet.seconds_to_find_a_write()


CASES: dict[str, Callable[[_Fleet, str], float]] = {
    "nothing ends": lambda fleet, _owner: fleet.seconds_to_find_a_write(),
    "kill -9, started again in its slot (the same worker id)": _killed_and_started_again,
    "an orderly stop; the other takes over": _stopped,
    "kill -9; the other takes over": _killed,
}


def main() -> int:
    """Measure each case so many times, on servers of its own."""
    parser = argparse.ArgumentParser(prog="make failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with running(lambda _text, _done, _total: None) as servers:
            seconds = _measured(servers, options.rounds)
    except KeyboardInterrupt:
        return 130
    except CdcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(seconds, indent=2))
        return 0
    table = Table("what ends the worker that reads the shard", "median, s", "lowest", "highest")
    for name, values in seconds.items():
        table.add_row(name, *(f"{value:.1f}" for value in (median(values), min(values), max(values))))
    Console().print(table)
    return 0


def _measured(servers: Servers, rounds: int) -> dict[str, list[float]]:
    import boto3
    from opensearchpy import OpenSearch

    os.environ.update(servers.aws.environment())
    table = f"failover-{uuid4().hex[:8]}"
    fleet = _Fleet(servers, table, boto3.client("dynamodb"), OpenSearch(servers.opensearch.url))
    make_table(fleet.dynamodb, table)
    boto3.client("s3").create_bucket(Bucket=table)
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    try:
        for worker in _WORKERS:
            fleet.start(worker)
        for number in range(rounds):
            for name, case in CASES.items():
                seconds[name].append(round(case(fleet, _settled(fleet)), 2))
                print(f"round {number + 1}: {name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    finally:
        fleet.stop()
    return seconds


def _settled(fleet: _Fleet) -> str:
    """The worker that holds the lease, when both run and changes flow."""
    for worker in _WORKERS:
        if worker not in fleet.processes or fleet.processes[worker].supervisor.poll() is not None:
            fleet.start(worker)
    for worker in _WORKERS:
        fleet.await_start(worker)
    for _ in range(3):  # past what a start or a take-over leaves to be settled
        fleet.seconds_to_find_a_write()
    return fleet.owner()


if __name__ == "__main__":
    sys.exit(main())
