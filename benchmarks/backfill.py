"""Backfill: a full table into OpenSearch, at which pace, and how much memory it takes however large the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.drains import Cost
from benchmarks.end_to_end import opensearch
from benchmarks.filled import engine, make_tables
from benchmarks.growing_loads import DIMENSIONS
from benchmarks.growth import grown, growth_of
from benchmarks.kcl import waiting
from benchmarks.loading import Kept
from benchmarks.orders import item
from benchmarks.results import Figure, Goal, Result, Row, Spread
from benchmarks.table_server import serving
from local.aws import Aws

__all__ = ["TITLE", "run"]

TITLE = "Backfill: a full table into OpenSearch"

_TABLE = "orders-0"
_BATCH = 25
"""Amazon DynamoDB API Reference, "BatchWriteItem"."""
_NAMES = {
    "limit": "prepared bulk requests",
    "reading": "the table read, and dropped",
    "ours": "ours",
    "script": "Scan, TypeDeserializer, parallel_bulk",
}


def run(quick: bool) -> Iterator[Result]:
    """Contenders take turns, each writing into new indices; first turns warm up. The table is the engine's, then one
    that costs next to nothing to read.

    Raises:
        CannotRun: a server can't be had.
    """
    items, rounds, allowed = (200, 1, 50) if quick else (24_000, 3, 100)
    with TemporaryDirectory(prefix="dynamodb-cdc-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        search = opensearch(folder, stack)
        aws = stack.enter_context(engine(folder))
        _fill(aws, items)
        environment = {
            **aws.environment(),
            "CDC_OPENSEARCH_ENDPOINT": search.url,
            "BENCHMARK_READ_UNITS": str(allowed),
        }
        fast = {"AWS_ENDPOINT_URL_DYNAMODB": stack.enter_context(serving(_TABLE, items))}
        yield _result("the engine's table", _costs(folder, environment, items, rounds, quick=quick), items, quick=quick)
        if not quick:
            found = _costs(folder, {**environment, **fast}, items, rounds, quick=quick)
            yield _result("a table that is read at once", found, items, quick=quick)
        yield _paced(folder, environment, items, quick=quick)
    yield from _growth(quick=quick)


def _growth(*, quick: bool) -> Iterator[Result]:
    """However large the table: the load's memory, and the verification's, and its time beside that of reading."""
    measured = {name: grown("benchmarks.growing_loads", name, one, quick=quick) for name, one in DIMENSIONS.items()}
    for name in ("load", "verification"):
        result = growth_of(DIMENSIONS[name], *measured[name])
        yield replace(result, goals=()) if quick else result
    sizes, whole = measured["verification"]
    _, reading = measured["reading"]
    own = [point.cpu_seconds - read.cpu_seconds for point, read in zip(whole, reading, strict=True)]
    yield Result(
        "A verification beside the reading of both sides",
        [
            Row(f"{size:,} items", {"reading, CPU s": read.cpu_seconds, "spooled and compared, CPU s": seconds})
            for size, read, seconds in zip(sizes, reading, own, strict=True)
        ],
        () if quick else [Goal(f"verification of {sizes[-1]:,} items: ≤ 60 s beside reading", own[-1], most=60)],
        ("Contents are compared, with one worker; items and documents are made as they are read.",),
    )


def _fill(aws: Aws, items: int) -> None:
    make_tables(aws, [_TABLE])
    client = aws.client("dynamodb")

    def put(start: int) -> None:
        batch = [{"PutRequest": {"Item": item(number)}} for number in range(start, min(items, start + _BATCH))]
        client.batch_write_item(RequestItems={_TABLE: batch})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(0, items, _BATCH)))


def _costs(
    folder: Path, environment: Mapping[str, str], items: int, rounds: int, *, quick: bool
) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in _NAMES}
    with ExitStack() as stack:
        contenders = [
            stack.enter_context(waiting(name, ["benchmarks.loading", name, _TABLE], folder, environment))
            for name in _NAMES
        ]
        for _ in range(rounds + (0 if quick else 1)):
            for one in contenders:
                costs[one.name].append(one.turn(items))
    return {name: many if quick else many[1:] for name, many in costs.items()}


def _result(source: str, costs: Mapping[str, Sequence[Cost]], items: int, *, quick: bool) -> Result:
    def times(name: str, other: str) -> Spread:
        return Spread.of(mine.rate / theirs.rate for mine, theirs in zip(costs[name], costs[other], strict=True))

    rows = [
        Row(
            title,
            {
                "items/s": Spread.of(cost.rate for cost in costs[name]),
                "of the limit": times(name, "limit"),
                "× the script": times(name, "script"),
                "client's CPU µs an item": Spread.of(cost.micros for cost in costs[name]),
                "peak MiB": max(cost.peak_mib for cost in costs[name]),
            },
        )
        for name, title in _NAMES.items()
    ]
    goal = Goal(f"backfill, {source}: ≥ 2 × the items/s of the usual script", times("ours", "script").median, least=2)
    return Result(
        f"{source[0].upper()}{source[1:]}: {items:,} items of 1 KB",
        rows,
        () if quick else (goal,),  # a few hundred items say nothing
        (
            "OpenSearch, the table's server and the contender share the processors. The limit is the fastest of three "
            "ways to send the same documents, prepared before the clock starts. The engine's own Scan looks at the "
            "whole table for each page, and limits who reads it; the other table's pages are made before.",
        ),
    )


def _paced(folder: Path, environment: Mapping[str, str], items: int, *, quick: bool) -> Result:
    with waiting("paced", ["benchmarks.loading", "paced", _TABLE], folder, environment) as contender:
        kept = Kept(**contender.told(items))
    rate = kept.units / kept.seconds
    deviation = rate / kept.allowed - 1
    row: dict[str, Figure] = {
        "read units": kept.units,
        "seconds": kept.seconds,
        "units/s": rate,
        "deviation": f"{deviation:+.1%}",
        "most within 10 s, units/s": kept.window,
    }
    return Result(
        f"A load with --max-read-units {kept.allowed:g}",
        [Row(f"{items:,} items", row)],
        () if quick else [Goal("backfill, read units a second: within 5 % of the limit", abs(deviation), most=0.05)],
        ("Units are those that the table counted. A page of 1 MB costs 128.",),
    )
