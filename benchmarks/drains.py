"""One contender of the KCL case, in a process of its own that `benchmarks.kcl` starts: for every line that it reads it
drains filled streams from their beginning into nothing and prints what that cost as a line of JSON."""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from cdc.deadline import Deadline
from cdc.delivery.consumer_state import Running
from cdc.delivery.shard import ShardPipeline, ShardSettings
from cdc.outcome import Applied, Outcome
from cdc.records.change import Change
from consumers.kcl.java.jvm import start_jvm
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.sources.source import TableSource
from consumers.kcl.sources.streams import TableFacts, describe_table
from consumers.kcl.tuning import KclSettings
from consumers.settings import Settings
from local.aws import REGION

__all__ = ["CONTENDERS", "STOP_SECONDS", "Cost", "Work", "heap", "kcl_settings", "table_facts", "watched"]

_LOOK_SECONDS = 0.005
STOP_SECONDS = 600.0
"""A stop that takes longer ends the process, also when the stop is over and the next turn goes on."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work to drain: `records` in all. The clock starts when a tenth of them have come."""

    tables: tuple[str, ...]
    application: str
    records: int
    class_path: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of draining; `cpu_seconds` of all threads, Java's too, `peak_mib` of the process up to now."""

    records: int
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def micros(self) -> float:
        """Microseconds of CPU a record."""
        return self.cpu_seconds / self.records * 1e6


def watched(work: Work, seen: Callable[[], int]) -> Cost:
    """Look at a count until the work is done; measured from the last look before a tenth of it was."""
    began, wall, cpu = 0, time.perf_counter(), time.process_time()
    while (count := seen()) < work.records // 10:
        began, wall, cpu = count, time.perf_counter(), time.process_time()
        time.sleep(_LOOK_SECONDS)
    _until(seen, work.records)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(seen() - began, wall, cpu, peak)


def heap() -> str:
    """The Java heap of `cdc run`."""
    return "512m"


def _until(seen: Callable[[], int], wanted: int) -> None:
    while seen() < wanted:
        time.sleep(_LOOK_SECONDS)


def table_facts(tables: Sequence[str]) -> tuple[TableFacts, ...]:
    """The tables' keys and streams."""
    return tuple(map(describe_table, tables))


class _Nothing:
    """A sink that only counts."""

    name = "nothing"

    def __init__(self) -> None:
        self.seen = 0
        self._lock = threading.Lock()

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        with self._lock:
            self.seen += len(changes)
        return [Applied()] * len(changes)

    def flush(self, deadline: Deadline) -> None:
        pass

    def close(self) -> None:
        pass


class _Decoded(_Nothing):
    """Decodes both images, as the loop does."""

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        for change in changes:
            _ = change.before, change.after
        return super().write(changes, deadline)


def ours(work: Work) -> Cost:
    """Our consumer as `cdc run` puts it together, with a sink that counts."""
    return _consume(work, _Nothing())


def ours_decoded(work: Work) -> Cost:
    """The same, and both images decoded, as the loop does."""
    return _consume(work, _Decoded())


def _consume(work: Work, nothing: _Nothing) -> Cost:
    from consumers.kcl.consumer import run
    from consumers.pipelines import CONSUMER
    from consumers.runtime import open_runtime

    start_jvm(work.class_path, heap())
    running = Running()
    costs: list[Cost] = []
    runtime = open_runtime(Settings(mappings="none"), own=lambda: nothing)

    def pipeline_for() -> ShardPipeline:
        return runtime.pipelines.pipeline(CONSUMER, running.pause)

    def watch() -> None:
        costs.append(watched(work, lambda: nothing.seen))
        running.ask_stop()

    threading.Thread(target=watch, daemon=True).start()
    run(
        kcl_settings(work),
        ShardSettings(shutdown_seconds=STOP_SECONDS),
        TableSource(table_facts(work.tables)),
        runtime.records,
        pipeline_for,
        Gaps(running, None),
        running=running,
    )
    return costs[0]


def floor(work: Work) -> Cost:
    """The same KCL and adapter with record processors in Java that count; reads follow each other without a pause."""
    from consumers.kcl.leases.stream_tracker import StreamNames
    from consumers.kcl.scheduler import make_scheduler
    from consumers.kcl.sources.dynamodb import DynamoDBStreams

    jpype = start_jvm(work.class_path, heap())
    settings = replace(kcl_settings(work), tuning={"kcl_idle_time_between_reads_in_millis": 1})
    counting, gaps = jpype.JClass("benchmarks.CountingProcessors")(), Gaps(Running(), None)
    source = TableSource(table_facts(work.tables))
    retrieval = DynamoDBStreams(jpype, settings, gaps)
    scheduler = make_scheduler(jpype, settings, source, retrieval, counting, StreamNames(), gaps, lambda _name: True)
    scheduler.start()
    cost = watched(work, lambda: int(counting.count()))
    scheduler.stop(STOP_SECONDS)
    return cost


def kcl_settings(work: Work) -> KclSettings:
    return KclSettings(work.application, REGION, worker_id=f"{work.application}-worker", profile="local")


def boto3_loop(work: Work) -> Cost:
    """The loop that people write first: GetRecords, shard by shard, both images through boto3's TypeDeserializer."""
    import boto3
    from boto3.dynamodb.types import TypeDeserializer

    client, deserialize = boto3.client("dynamodbstreams"), TypeDeserializer().deserialize
    iterators: list[str] = []
    for table in work.tables:
        for stream in client.list_streams(TableName=table)["Streams"]:
            arn = stream["StreamArn"]
            for shard in client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
                found = client.get_shard_iterator(
                    StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
                )
                iterators.append(found["ShardIterator"])
    seen = 0
    costs: list[Cost] = []
    watch = threading.Thread(target=lambda: costs.append(watched(work, lambda: seen)), daemon=True)
    watch.start()
    while watch.is_alive():
        page = client.get_records(ShardIterator=iterators.pop(0))
        for record in page["Records"]:
            for name in ("OldImage", "NewImage"):
                image = cast("dict[str, Any]", record["dynamodb"].get(name, {}))
                {attribute: deserialize(value) for attribute, value in image.items()}
            seen += 1
        iterators.append(page["NextShardIterator"])
    return costs[0]


def _indexing(name: str) -> Callable[[Work], Cost]:
    def contender(work: Work) -> Cost:
        from benchmarks import indexing

        return getattr(indexing, name)(work)  # type: ignore[no-any-return]

    return contender


CONTENDERS: dict[str, Callable[[Work], Cost]] = {
    "ours": ours,
    "ours-decoded": ours_decoded,
    "floor": floor,
    "boto3": boto3_loop,
    "indexing": _indexing("from_the_stream"),
    "at-hand": _indexing("at_hand"),
    "limit": _indexing("limit"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Drain, once for each line of the standard input: its number of records."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drains")
    parser.add_argument("contender", choices=sorted(CONTENDERS))
    parser.add_argument("--tables", required=True)
    parser.add_argument("--class-path", required=True)
    given = parser.parse_args(arguments)
    path = tuple(map(Path, given.class_path.split(os.pathsep)))
    for turn, line in enumerate(sys.stdin):
        application = f"{given.contender}-{os.getpid()}-{turn}"
        work = Work(tuple(given.tables.split(",")), application, int(line), path)
        print(json.dumps(asdict(CONTENDERS[given.contender](work))), flush=True)
    os._exit(0)  # the KCL's threads would keep it alive


if __name__ == "__main__":
    main()
