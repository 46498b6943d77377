"""`python -m benchmarks.stream_rates`: how fast records can be read from the engine's streams, and from those of
`benchmarks.streams_server`: as plain bytes by one reader, and by the KCL in Java."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.compiled import class_path
from benchmarks.filled import Filled, engine, filled, make_tables
from benchmarks.kcl import contender
from benchmarks.orders import item
from benchmarks.results import Result, Row
from benchmarks.tables import table
from local.aws import Aws, endpoint_of

_TABLES, _ITEMS = 3, 10_000
_TURNS = 3
_BATCH = 25
_WRITERS = 4
_NEXT = re.compile(rb'"NextShardIterator": *"([^"]+)"')


def main() -> None:
    """Read the same orders from both, several times, and print the best turn of each."""
    with TemporaryDirectory(prefix="dynamodb-cdc-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        path = class_path(folder / "classes")
        rows = []
        for title, source in _sources(folder, stack):
            (folder / title).mkdir()
            with contender("floor", source, path, folder / title, source.variables) as floor:
                rates = {
                    "plain bytes, records/s": max(_plain(source) for _ in range(_TURNS)),
                    "the KCL in Java, records/s": max(floor.turn(source.records).rate for _ in range(_TURNS)),
                }
            rows.append(Row(title, rates))
    Console().print(table(Result(f"{_TABLES} tables × {_ITEMS:,} items of 1 KB, the best of {_TURNS} turns", rows)))


def _sources(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Filled]]:
    written = stack.enter_context(engine(folder))
    names = tuple(f"orders-{number}" for number in range(_TABLES))
    make_tables(written, names)
    _write(written, names)
    yield "the engine", Filled(written.environment(), names, _TABLES * _ITEMS)
    (folder / "leases").mkdir()
    leases = stack.enter_context(engine(folder / "leases"))
    yield "benchmarks.streams_server", stack.enter_context(filled(leases, _TABLES, _ITEMS))


def _write(aws: Aws, names: Sequence[str]) -> None:
    client = aws.client("dynamodb")

    def write(first: int) -> None:
        for name in names:
            puts = [{"PutRequest": {"Item": item(number)}} for number in range(first, min(first + _BATCH, _ITEMS))]
            left = {name: puts}
            while left:
                left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]

    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="fill") as pool:
        for _ in pool.map(write, range(0, _ITEMS, _BATCH)):
            pass


def _plain(source: Filled) -> float:
    """Records a second of pages that are fetched one after the other, and not parsed."""
    url = endpoint_of(source.variables, "dynamodbstreams")
    connection = HTTPConnection(str(url).removeprefix("http://"))
    iterators = [_iterator(connection, name) for name in source.tables]
    seen, began = 0, time.perf_counter()
    while iterators:
        page = _asked(connection, "GetRecords", ShardIterator=iterators.pop(0))
        found = _NEXT.search(page)
        if found is not None and (count := page.count(b'"eventID"')):
            seen += count
            iterators.append(found[1].decode())
    seconds = time.perf_counter() - began
    connection.close()
    if seen != source.records:
        raise RuntimeError(f"{seen} records were read of {source.records}")
    return seen / seconds


def _iterator(connection: HTTPConnection, name: str) -> str:
    stream = json.loads(_asked(connection, "ListStreams", TableName=name))["Streams"][0]["StreamArn"]
    shards = json.loads(_asked(connection, "DescribeStream", StreamArn=stream))["StreamDescription"]["Shards"]
    first = _asked(
        connection,
        "GetShardIterator",
        StreamArn=stream,
        ShardId=shards[0]["ShardId"],
        ShardIteratorType="TRIM_HORIZON",
    )
    return str(json.loads(first)["ShardIterator"])


def _asked(connection: HTTPConnection, operation: str, **parameters: Any) -> bytes:
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"DynamoDBStreams_20120810.{operation}",
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request",
    }
    connection.request("POST", "/", json.dumps(parameters), headers)
    return connection.getresponse().read()


if __name__ == "__main__":
    main()
