"""The contenders of the end-to-end case; `benchmarks.drains` runs them: our consumer into OpenSearch and S3, our shards
with the records at hand, and bulk requests that were prepared before."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory

from benchmarks.drains import STOP_SECONDS, Cost, Work, heap, kcl_settings, table_facts, watched
from benchmarks.orders import record
from cdc.delivery.consumer_state import Running
from cdc.delivery.shard import BatchFacts, Payload, ShardConsumer, ShardPipeline, ShardSettings
from cdc.mappings.writes import Put
from cdc.records.decoding import change_from_adapter
from cdc.records.stream import Stream
from cdc.sinks.opensearch.bulk import action_bytes
from cdc.testing import adapter_payload
from consumers.gc_tuning import collect_seldom
from consumers.kcl.consumer import run
from consumers.kcl.java.jvm import start_jvm
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.sources.source import TableSource
from consumers.pipelines import CONSUMER
from consumers.runtime import Runtime, open_runtime
from consumers.settings import load_settings

__all__ = ["at_hand", "from_the_stream", "limit", "runtime_of"]

_BATCH = 1000
_SENDERS = ((1000, 2), (500, 4), (250, 4))
"""Operations of a request, and how many are under way at once: the limit is that of the best."""


class _Settled:
    """How many records were settled."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def batch(self, facts: BatchFacts) -> None:
        self.add(facts.outcomes.total())

    def add(self, count: int) -> None:
        with self._lock:
            self.count += count


def runtime_of(work: Work, folder: str) -> Runtime:
    """Wired to indices that nobody has written to yet."""
    mapping = Path(folder) / "orders.yml"
    mapping.write_text(f'table: "orders-*"\ndocuments: [{{index: "{work.application}-{{table}}"}}]\n')
    settings = load_settings({**os.environ, "CDC_MAPPINGS": str(mapping), "CDC_ARCHIVE_PREFIX": work.application})
    return open_runtime(settings)


def from_the_stream(work: Work) -> Cost:
    """Our consumer, from DynamoDB's streams."""
    start_jvm(work.class_path, heap())
    running, settled = Running(), _Settled()
    costs: list[Cost] = []
    with TemporaryDirectory() as folder:
        runtime = runtime_of(work, folder)

        def pipeline_for() -> ShardPipeline:
            return runtime.pipelines.pipeline(CONSUMER, running.pause)

        def watch() -> None:
            costs.append(watched(work, lambda: settled.count))
            running.ask_stop()

        source = TableSource(table_facts(work.tables))
        source.prepare(runtime)
        threading.Thread(target=watch, daemon=True).start()
        run(
            kcl_settings(work),
            ShardSettings(runtime.settings.flush_bytes, runtime.settings.flush_seconds, shutdown_seconds=STOP_SECONDS),
            source,
            runtime.records,
            pipeline_for,
            Gaps(running, None),
            running=running,
            observe=settled.batch,
        )
    return costs[0]


def at_hand(work: Work) -> Cost:
    """Our shards, one thread each as in the KCL, with batches in memory as the KCL would hand them over."""
    running, settled = Running(), _Settled()
    costs: list[Cost] = []
    collect_seldom()  # as the consumer does at its start
    with TemporaryDirectory() as folder:
        runtime = runtime_of(work, folder)
        streams = {table: _stream(table) for table in work.tables}
        for stream in streams.values():
            runtime.tables.prepare(stream, ["pk"])

        def drain(table: str) -> None:
            stream = streams[table]
            shard = ShardConsumer(
                shard=f"shard-{table}",
                table=table,
                pipeline=runtime.pipelines.pipeline(CONSUMER, running.pause),
                read=lambda payloads: runtime.records.adapter([payload.data for payload in payloads], stream),
                settings=ShardSettings(runtime.settings.flush_bytes, runtime.settings.flush_seconds),
                running=running,
                holds_lease=lambda: True,
                observe=settled.batch,
            )
            for batch in batches[table]:
                shard.process(batch, lambda _sequence: None)

        batches = {table: _batches(work.records // len(work.tables)) for table in work.tables}
        watch = threading.Thread(target=lambda: costs.append(watched(work, lambda: settled.count)), daemon=True)
        watch.start()
        with ThreadPoolExecutor(len(work.tables)) as pool:
            list(pool.map(drain, work.tables))
        watch.join()
    return costs[0]


def limit(work: Work) -> Cost:
    """Bulk requests with the documents that we would send, prepared before the clock starts, as fast as OpenSearch
    takes them: of several ways to send them the fastest."""
    return min((_sent(work, number, *way) for number, way in enumerate(_SENDERS)), key=lambda cost: cost.seconds)


def _sent(work: Work, number: int, operations: int, senders: int) -> Cost:
    bodies: SimpleQueue[tuple[int, bytes]] = SimpleQueue()
    with TemporaryDirectory() as folder:
        runtime = runtime_of(Work(work.tables, f"{work.application}-{number}", work.records, ()), folder)
        prepared = [_bodies(runtime, table, work.records // len(work.tables), operations) for table in work.tables]
    for together in zip(*prepared, strict=True):  # the tables take turns, as shards do
        for body in together:
            bodies.put(body)
    client = runtime.clients.opensearch
    if client is None:
        raise RuntimeError("the mapping names an index")
    settled = _Settled()

    def send() -> None:
        with suppress(Empty):
            while True:
                count, body = bodies.get_nowait()
                answer = client.bulk(body=body, params={"filter_path": "errors"})
                if answer["errors"]:
                    raise RuntimeError("OpenSearch refused a document")
                settled.add(count)

    costs: list[Cost] = []
    watch = threading.Thread(target=lambda: costs.append(watched(work, lambda: settled.count)), daemon=True)
    watch.start()
    with ThreadPoolExecutor(senders) as pool:
        for sender in [pool.submit(send) for _ in range(senders)]:
            sender.result()
    watch.join()
    return costs[0]


def _bodies(runtime: Runtime, table: str, count: int, operations: int) -> list[tuple[int, bytes]]:
    stream = _stream(table)
    compiled = runtime.tables.prepare(stream, ["pk"])
    lines = [
        action_bytes(write, require_alias=True)
        for number in range(count)
        for write in compiled.writes(change_from_adapter(_record(number), stream))
        if isinstance(write, Put)
    ]
    return [(len(part), b"".join(part)) for part in (lines[at : at + operations] for at in range(0, count, operations))]


def _batches(count: int) -> list[list[Payload]]:
    payloads = [Payload(_record(number)) for number in range(count)]
    return [payloads[at : at + _BATCH] for at in range(0, count, _BATCH)]


def _stream(table: str) -> Stream:
    return Stream.dynamodb(f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/2026-01-01T00:00:00.000")


def _record(number: int) -> bytes:
    """A record as the KCL's adapter writes it."""
    return adapter_payload(record(number))
