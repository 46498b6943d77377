"""End to end: full streams into OpenSearch and S3, against what OpenSearch takes from prepared bulk requests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.compiled import class_path
from benchmarks.drains import Cost
from benchmarks.filled import Filled, engine, filled, none
from benchmarks.kcl import contender
from benchmarks.results import CannotRun, Goal, Result, Row, Spread
from cdc.errors import CdcError
from local.opensearch import OpenSearchServer, install_opensearch, launch_opensearch

__all__ = ["TITLE", "opensearch", "run"]

TITLE = "End to end: full streams into OpenSearch and S3"

_TABLES = 3
_BUCKET = "benchmark"
_HEAP = "2g"
_FULL_COMPILER = "-XX:TieredStopAtLevel=4"
"""The local server is started for tests, with the quick compiler only; Java takes this over what the command says."""
_NAMES = {
    "limit": "prepared bulk requests",
    "indexing": "ours, from the streams",
    "at-hand": "ours, records at hand",
}


def run(quick: bool) -> Iterator[Result]:
    """Contenders take turns, each writing new documents into new indices; first turns warm up.

    Raises:
        CannotRun: a server can't be had.
    """
    items, rounds = (1_000, 1) if quick else (10_000, 2)
    names = [one for one in _NAMES if not quick or one != "indexing"]  # no JVM for a quick look
    with TemporaryDirectory(prefix="dynamodb-cdc-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        path = () if quick else class_path(folder / "classes")
        aws = stack.enter_context(engine(folder))
        aws.client("s3").create_bucket(Bucket=_BUCKET)
        search = opensearch(folder, stack)
        source = none(aws, _TABLES, items) if quick else stack.enter_context(filled(aws, _TABLES, items))
        environment = {
            **source.variables,
            "CDC_OPENSEARCH_ENDPOINT": search.url,
            "CDC_ARCHIVE_BUCKET": _BUCKET,
        }
        contenders = [stack.enter_context(contender(one, source, path, folder, environment)) for one in names]
        costs: dict[str, list[Cost]] = {one: [] for one in names}
        for _ in range(rounds + (0 if quick else 1)):
            for one in contenders:
                costs[one.name].append(one.turn(source.records))
        yield _result({one: many if quick else many[1:] for one, many in costs.items()}, source)


def opensearch(folder: Path, stack: ExitStack) -> OpenSearchServer:
    """A server with the full compiler and 2 GB of heap, stopped by `stack`.

    Raises:
        CannotRun: it can't be installed, or does not start.
    """
    try:
        home = install_opensearch(_silent)
        with _environment("_JAVA_OPTIONS", _FULL_COMPILER):
            search = launch_opensearch(folder, home, heap=_HEAP)
        stack.callback(search.stop)
        search.wait()
    except CdcError as error:
        raise CannotRun(error.message) from error
    return search


def _silent(_text: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of this process for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _result(costs: Mapping[str, Sequence[Cost]], source: Filled) -> Result:
    shares = {
        one: Spread.of(mine.rate / theirs.rate for mine, theirs in zip(many, costs["limit"], strict=True))
        for one, many in costs.items()
    }
    rows = [
        Row(
            _NAMES[one],
            {
                "records/s": Spread.of(cost.rate for cost in many),
                "of the limit": shares[one],
                "client's CPU µs a record": Spread.of(cost.micros for cost in many),
                "peak MiB": max(cost.peak_mib for cost in many),
            },
        )
        for one, many in costs.items()
    ]
    return Result(
        f"{len(source.tables)} tables × {source.records // len(source.tables):,} items of 1 KB",
        rows,
        [
            Goal(
                f"end to end, {_NAMES[one].removeprefix('ours, ')}: ≥ 0.8 × OpenSearch's limit", share.median, least=0.8
            )
            for one, share in shares.items()
            if one != "limit" and "indexing" in shares  # a quick look says nothing
        ],
        (
            "OpenSearch, the servers of streams, leases and S3, and the contender share the processors: from the "
            "streams, those servers and the KCL take theirs from OpenSearch; with the records at hand only our own "
            "work and S3 do.",
            "Each table's archive is flushed within a turn: compressed, and put into S3.",
            "The limit is the fastest of three ways to send the same documents: 2 × 1,000, 4 × 500, 4 × 250 at once.",
        ),
    )
