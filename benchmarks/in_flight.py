"""How many bulk requests of a shard are best under way at once, for one to eight shards in a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.end_to_end import opensearch
from benchmarks.filled import engine, none
from benchmarks.kcl import contender
from benchmarks.results import Result, Row, Spread

__all__ = ["TITLE", "run"]

TITLE = "Bulk requests in flight, and shards of one process"

_RECORDS = 24_000
_BUCKET = "benchmark"


def run(quick: bool) -> Iterator[Result]:
    """Records at hand, as in the end-to-end case; contenders take turns.

    Raises:
        CannotRun: a server can't be had.
    """
    shards, in_flight, rounds = ((1, 2), (1, 2), 1) if quick else ((1, 2, 4, 8), (1, 2, 3, 4), 3)
    records = 1_000 if quick else _RECORDS
    rows = []
    with TemporaryDirectory(prefix="dynamodb-cdc-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        aws = stack.enter_context(engine(folder))
        aws.client("s3").create_bucket(Bucket=_BUCKET)
        search = opensearch(folder, stack)
        for tables in shards:
            with ExitStack() as waiting:
                source = none(aws, tables, records // tables)
                environment = {
                    **source.variables,
                    "CDC_OPENSEARCH_ENDPOINT": search.url,
                    "CDC_ARCHIVE_BUCKET": _BUCKET,
                }
                contenders = {
                    most: waiting.enter_context(
                        contender("at-hand", source, (), folder, {**environment, "CDC_BULKS_IN_FLIGHT": str(most)})
                    )
                    for most in in_flight
                }
                rates: dict[int, list[float]] = {most: [] for most in in_flight}
                for turn in range(rounds + 1):
                    for most, one in contenders.items():
                        rate = one.turn(source.records).rate
                        if turn:  # the first warms up
                            rates[most].append(rate)
            rows.append(
                Row(
                    f"{tables} shards",
                    {f"{most} in flight, records/s": Spread.of(many) for most, many in rates.items()},
                )
            )
    yield Result(f"{records:,} items of 1 KB", rows)
