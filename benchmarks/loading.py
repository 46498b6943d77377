"""One contender of the backfill case, in a process of its own that `benchmarks.backfill` starts: for every line that it
reads it loads a table into a new index and prints what that cost as a line of JSON.

`python -m benchmarks.loading CONTENDER TABLE`; each line of the standard input is the number of the table's items.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.drains import Cost, Work
from benchmarks.indexing import limit, runtime_of
from cdc.loads.backfill import Backfill, LoadOptions
from cdc.loads.jobs import FolderObjects, Jobs
from cdc.loads.plan import Plan, segments_of
from cdc.loads.table import DynamoDBPages, Page, SourceTable, TablePages
from cdc.mappings.compiled import CompiledMapping
from consumers.clients import item_client
from consumers.gc_tuning import collect_seldom
from consumers.loading import deployment_of

__all__ = ["CONTENDERS", "Kept", "LoadAlone"]

_WORKERS = 4
_WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The read units that the table counted for a load that was allowed `allowed` a second."""

    allowed: float
    units: float
    seconds: float
    """From the load's beginning to its last read."""
    window: float
    """The most units a second within ten seconds."""


@contextmanager
def _measured(items: int) -> Iterator[list[Cost]]:
    """The cost of the block is in the list at its end."""
    costs: list[Cost] = []
    wall, cpu = time.perf_counter(), time.process_time()
    yield costs
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    costs.append(Cost(items, wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class LoadAlone(Backfill):
    """A load without what follows it: as if there were no ghosts to look for."""

    def _without_ghosts(self, plan: Plan, source: SourceTable, compiled: CompiledMapping) -> int:
        return 0


@dataclass(frozen=True)
class _Watched:
    """Pages that note when what was read."""

    pages: TablePages
    reads: list[tuple[float, float]] = field(default_factory=list)

    def describe(self, table: str) -> SourceTable:
        return self.pages.describe(table)

    def page(self, *asked: Any, **named: Any) -> Page:
        page = self.pages.page(*asked, **named)
        self.reads.append((time.perf_counter(), page.read_units))
        return page


def ours(work: Work) -> Cost:
    """The load of `cdc backfill`, from its plan to its last durable item."""
    return _loaded(work, LoadOptions(workers=_WORKERS))[0]


def paced(work: Work) -> Kept:
    """The same, allowed so many read units a second as the environment says."""
    allowed = float(os.environ["BENCHMARK_READ_UNITS"])
    cost, reads = _loaded(work, LoadOptions(workers=_WORKERS, max_read_units=allowed))
    ended = time.perf_counter()
    began = ended - cost.seconds
    within = [sum(units for at, units in reads if until - _WINDOW_SECONDS < at <= until) for until, _ in reads]
    return Kept(allowed, sum(units for _, units in reads), reads[-1][0] - began, max(within) / _WINDOW_SECONDS)


def _loaded(work: Work, options: LoadOptions) -> tuple[Cost, list[tuple[float, float]]]:
    """A load without what follows it: as if its ghosts were closed already."""
    (table,) = work.tables
    with TemporaryDirectory() as folder:
        runtime = runtime_of(work, folder)
        deployment = deployment_of(runtime)
        pages = _Watched(deployment.pages)
        load = LoadAlone(replace(deployment, pages=pages), Jobs(FolderObjects(Path(folder) / "jobs")), options)
        plan, units = load.planner.of_table(table)
        load.begin(plan, units)
        with _measured(work.records) as costs:
            done = load.run(table, plan.job, verify=False)
        if done.loaded.outcomes != {"applied": work.records}:
            raise RuntimeError(f"not all items were loaded: {done.loaded.outcomes}")
        runtime.close()
    return costs[0], pages.reads


def reading(work: Work) -> Cost:
    """The pages of such a load, read by as many threads, and dropped: the most that the table gives."""
    from concurrent.futures import ThreadPoolExecutor

    (table,) = work.tables
    pages = DynamoDBPages(item_client(30.0))
    segments = segments_of(pages.describe(table), _WORKERS)

    def read(segment: int) -> int:
        page = pages.page(table, segment, segments, None)
        count = len(page.items)
        while page.after is not None:
            page = pages.page(table, segment, segments, page.after)
            count += len(page.items)
        return count

    with _measured(work.records) as costs, ThreadPoolExecutor(_WORKERS) as pool:
        if sum(pool.map(read, range(segments))) != work.records:
            raise RuntimeError("not all items were read")
    return costs[0]


def script(work: Work) -> Cost:
    """The script that people write: a paginated Scan, boto3's TypeDeserializer, opensearch-py's `parallel_bulk`. Its
    documents have no version: it may overwrite what is newer."""
    import boto3
    from opensearchpy import OpenSearch
    from opensearchpy.helpers import parallel_bulk

    (table,) = work.tables
    index = _prepared(work)
    client = OpenSearch(os.environ["CDC_OPENSEARCH_ENDPOINT"], timeout=60)
    with _measured(work.records) as costs:
        pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        items = (_plain_item(item) for page in pages for item in page["Items"])
        actions = ({"_index": index, "_id": item["pk"], "_source": item} for item in items)
        done = sum(ok for ok, _ in parallel_bulk(client, actions, thread_count=_WORKERS))
    if done != work.records:
        raise RuntimeError("not all items were written")
    return costs[0]


def _plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    """JSON has no sets, and opensearch-py's own serializer takes none; of Decimal it makes a float."""
    if isinstance(value, set):
        return list(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _deserializer() -> Any:
    from boto3.dynamodb.types import TypeDeserializer

    return TypeDeserializer()


_DESERIALIZER = _deserializer()


def _prepared(work: Work) -> str:
    """The name of an index that is made as ours is, and holds nothing."""
    with TemporaryDirectory() as folder:
        runtime = runtime_of(work, folder)
        source = deployment_of(runtime).pages.describe(work.tables[0])
        if source.stream is None:
            raise RuntimeError("the table has no stream")
        (index,) = runtime.tables.prepare(source.stream, source.keys).bodies
        runtime.close()
    return index


CONTENDERS: dict[str, Callable[[Work], Cost | Kept]] = {
    "limit": limit,
    "reading": reading,
    "ours": ours,
    "script": script,
    "paced": paced,
}


def main(contender: str, table: str) -> None:
    """Load, once for each line of the standard input: its number of items."""
    if contender != "script":
        collect_seldom()  # as `cdc backfill` does
    for turn, line in enumerate(sys.stdin):
        work = Work((table,), f"{contender}-{os.getpid()}-{turn}", int(line), ())
        print(json.dumps(asdict(CONTENDERS[contender](work))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
