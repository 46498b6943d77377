"""Backfills under fire: a table that is full before its stream is on is loaded while everything goes wrong.

`python -m tests.chaos.backfills --items 20000` plays each way once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil
import tenacity

from local.demo.traffic import enable_stream
from local.process import ServerProcess, start
from tests.chaos.consumer import PATIENCE_SECONDS, Consumer, Deployment
from tests.chaos.judge import Expected, Verdict, expected_of, judge
from tests.chaos.load import Load, cold_items
from tests.chaos.rounds import Failure
from tests.chaos.world import World, fresh_world

__all__ = ["WAYS", "Played", "Way", "play_backfill"]

Way = Literal["streams", "kinesis", "export"]
WAYS: tuple[Way, ...] = ("streams", "kinesis", "export")

_SECONDS = 12.0
"""How long the load is made to take, so that much happens meanwhile."""
_ITEM_UNITS = 0.1
_DRAIN_SECONDS = 150.0


@dataclass(frozen=True)
class Played:
    """How it went."""

    way: Way
    items: int
    documents: int
    changes: int
    seconds: float
    kills: int
    loaded: int
    verdict: str

    def __str__(self) -> str:
        return (
            f"{self.way}: {self.items} items before the stream, {self.changes} changes meanwhile, "
            f"{self.kills} kills and a restart of OpenSearch, {self.loaded} items loaded; {self.verdict}; "
            f"the judge: {self.documents} documents equal; {self.seconds:.0f} s"
        )


@dataclass
class _Backfill:
    """`cdc backfill` as a process, which is killed and resumed."""

    deployment: Deployment
    arguments: list[str]
    process: ServerProcess | None = None
    starts: int = field(default=0)

    @property
    def log(self) -> Path:
        return self.deployment.folder / f"backfill-{self.starts}.log"

    def begin(self) -> None:
        self.starts += 1
        verb = [] if self.starts == 1 else ["resume"]
        arguments = self.arguments if self.starts == 1 else self.arguments[:4]
        environment = {**self.deployment.environment("backfill")}
        if self.deployment.kinesis:
            environment["CDC_KINESIS_STREAM_ARN"] = self.deployment.kinesis
        self.process = start(
            "the backfill",
            [sys.executable, "-m", "consumers.cli.main", "backfill", *verb, *arguments, "--json"],
            environment,
            self.deployment.folder,
            self.log,
        )

    def await_cursors(self, count: int) -> None:
        """Return when so many units have been recorded."""
        assert self.process is not None
        self.process.wait_until(lambda: self.cursors() >= count or self.ended, PATIENCE_SECONDS)

    def cursors(self) -> int:
        s3 = self.deployment.world.client("s3")
        listed = s3.list_objects_v2(Bucket=self.deployment.name, Prefix="cdc/jobs/")
        return sum("/cursors/" in entry["Key"] for entry in listed.get("Contents", ()))

    @property
    def ended(self) -> bool:
        assert self.process is not None
        return self.process.supervisor.poll() is not None

    def kill(self) -> bool:
        """Kill it; False if it had ended already, as a load of one small file may."""
        process = self.process
        assert process is not None
        process.wait_until(lambda: self.ended or bool(psutil.Process(process.supervisor.pid).children()), 30)
        if self.ended:
            return False
        process.kill()
        return True

    def result(self) -> dict[str, Any]:
        assert self.process is not None
        self.process.supervisor.wait(PATIENCE_SECONDS)
        lines = [line for line in self.log.read_text().splitlines() if line.startswith('{"result"')]
        assert lines, f"the backfill has no result:\n{self.process.tail()}"
        return dict(json.loads(lines[-1])["result"])


def play_backfill(world: World, items: int, way: Way, seed: int, *, batches_per_second: float = 16) -> Played:
    """Load a full table while it is written to, through kills and a restart of OpenSearch.

    Args:
        batches_per_second: batches of 25 writes each.

    Raises:
        Failure: something is missing, stale or a ghost; with the ends of the logs.
    """
    began = time.monotonic()
    deployment = Deployment.make(world, streamed=False)
    _fill(deployment, items, seed)
    arguments = ["--table", deployment.name, "--max-read-units", str(max(60.0, items * _ITEM_UNITS / _SECONDS))]
    if way == "kinesis":
        deployment.kinesis = _join_kinesis(deployment)
    else:
        deployment.streams.append(enable_stream(world.client("dynamodb"), deployment.name))
    consumer = Consumer(deployment, "first")
    load = Load(world.client("dynamodb"), deployment.name, seed, batches_per_second, cold=max(items, 100))
    backfill = _Backfill(deployment, arguments)
    kills = 0
    try:
        consumer.start()
        load.start()
        try:
            if way == "export":
                backfill.arguments += ["--export", _exported(deployment)]
                consumer.await_progress(500)  # the export is older than these
                _restart_opensearch(world)
            backfill.begin()
            counts = (1, 1, 1) if way == "export" else (2, 5, 8)  # an export has few files
            for count in counts[:2]:
                backfill.await_cursors(count)
                if backfill.kill():
                    kills += 1
                    backfill.begin()
            backfill.await_cursors(counts[2])
            _restart_opensearch(world)
            result = backfill.result()
        finally:
            load.stop()
        expected = expected_of(deployment)
        verdict = _drained(deployment, expected)
        assert not verdict, "\n".join(verdict[:20])
        findings = result["findings"]
        assert findings["differences"] == 0, f"the verification found what is not there: {findings['verdict']}"
        assert consumer.stop() == 0
    except Exception as error:
        tails = [
            consumer.process.tail() if consumer.process else "",
            backfill.process.tail() if backfill.process else "",
        ]
        raise Failure("\n---\n".join([f"{way}: {type(error).__name__}: {error}", *tails])) from error
    finally:
        if consumer.is_running:
            consumer.kill()
    return Played(
        way,
        items,
        len(expected.documents),
        load.written,
        time.monotonic() - began,
        kills,
        result["items"],
        findings["verdict"],
    )


def _fill(deployment: Deployment, items: int, seed: int) -> None:
    dynamodb = deployment.world.client("dynamodb")
    left = cold_items(items, seed)
    while batch := list(islice(left, 25)):
        requests: Any = {deployment.name: [{"PutRequest": {"Item": item}} for item in batch]}
        while requests:
            requests = dynamodb.batch_write_item(RequestItems=requests).get("UnprocessedItems")


def _join_kinesis(deployment: Deployment) -> str:
    kinesis, dynamodb = deployment.world.client("kinesis"), deployment.world.client("dynamodb")
    kinesis.create_stream(StreamName=deployment.name, ShardCount=1)
    arn = str(kinesis.describe_stream_summary(StreamName=deployment.name)["StreamDescriptionSummary"]["StreamARN"])
    kinesis.get_waiter("stream_exists").wait(StreamName=deployment.name)
    dynamodb.enable_kinesis_streaming_destination(
        TableName=deployment.name,
        StreamArn=arn,
        EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
    )
    return arn


def _exported(deployment: Deployment) -> str:
    """The location of an export that is finished."""
    dynamodb = deployment.world.client("dynamodb")
    dynamodb.update_continuous_backups(
        TableName=deployment.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    arn = dynamodb.describe_table(TableName=deployment.name)["Table"]["TableArn"]
    asked = dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket=deployment.name, S3Prefix="exports")
    for found in _polled(lambda: dynamodb.describe_export(ExportArn=asked["ExportDescription"]["ExportArn"])):
        if found["ExportDescription"]["ExportStatus"] == "COMPLETED":
            manifest = str(found["ExportDescription"]["ExportManifest"])
            return f"s3://{deployment.name}/{manifest.rpartition('/')[0]}"
    raise AssertionError("the export is never finished")


def _polled(ask: Any) -> Iterator[Any]:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        yield ask()
        time.sleep(0.2)


def _restart_opensearch(world: World) -> None:
    """In order: it forgets all deletes."""
    world.opensearch.stop()
    world.start_opensearch_again()


def _drained(deployment: Deployment, expected: Expected) -> list[str]:
    """List what still differs when the consumers have had more than enough time. Kinesis has no stream to judge by."""

    def differing() -> list[str]:
        verdict: Verdict = judge(deployment, expected)
        return [text for text in verdict.differences if not (deployment.kinesis and text.startswith("change "))]

    return tenacity.Retrying(
        retry=tenacity.retry_if_result(bool),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(_DRAIN_SECONDS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )(differing)


def main() -> int:
    """Play each way once, and print how it went; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000, help="items in the table before its stream is on")
    parser.add_argument("--way", choices=WAYS, action="append", help="only these")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="dynamodb-cdc-") as folder, fresh_world(Path(folder) / "run") as made:
        for way in options.way or WAYS:
            try:
                print(play_backfill(made, options.items, way, options.seed), flush=True)
            except Failure as failure:
                failed += 1
                print(f"FAILED {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
