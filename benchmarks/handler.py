"""Case 2, a Lambda's handler: an event of 1,000 records, to a server that answers as OpenSearch does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bulk_server import serving
from benchmarks.results import Goal, Result, Row
from benchmarks.shapes import SHAPES
from benchmarks.side_by_side import Series, side_by_side

__all__ = ["TITLE", "run"]

TITLE = "Handler: a Lambda event of 1,000 orders, both images, to a local HTTP server"

OURS, SAMPLE = "ours", "the usual sample"
_LEAST = 5.0

Event = dict[str, Any]
Handler = Callable[[Event], object]


class _Context:
    """Lambda's, with a minute left."""

    aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def run(quick: bool) -> Iterator[Result]:
    """CPU seconds and seconds on the clock of an invocation."""
    count, rounds = (100, 3) if quick else (1000, 15)
    event: Event = json.loads(json.dumps({"Records": [SHAPES["order"].record(number) for number in range(count)]}))
    with serving() as endpoint, tempfile.TemporaryDirectory() as folder:
        handlers = {OURS: _ours(endpoint, Path(folder)), SAMPLE: _sample(endpoint)}
        series = side_by_side(
            {name: partial(handle, event) for name, handle in handlers.items()},
            rounds=rounds,
            turn_seconds=0.1,
        )
    ratio = series[SAMPLE].times(series[OURS])
    yield Result(
        f"An invocation with {count:,} records",
        [_row(name, series, count) for name in series],
        [Goal(f"handler: ≥ {_LEAST:g} × less CPU than {SAMPLE}", ratio.median, least=_LEAST)],
        [
            "The sample decodes the new image by boto3's TypeDeserializer and sends it by opensearch-py's "
            "helpers.bulk: no versions, no order, one failure fails all. The server's CPU is not counted."
        ],
    )


def _row(name: str, series: dict[str, Series], count: int) -> Row:
    mine, ours = series[name], series[OURS]
    return Row(
        name,
        {
            "CPU µs a record": mine.cpu.median / count * 1e6,
            "ms on the clock": mine.wall.median * 1e3,
            "times our CPU (quartiles)": mine.times(ours) if name != OURS else "1",
            "times our time (quartiles)": mine.wall_times(ours) if name != OURS else "1",
        },
    )


def _ours(endpoint: str, folder: Path) -> Handler:
    from consumers.aws_lambda.changes import ChangesFunction
    from consumers.gc_tuning import collect_seldom
    from consumers.runtime import open_runtime
    from consumers.settings import load_settings

    mapping = folder / "shop.yml"
    mapping.write_text("table: shop\ndocuments: [{index: orders}]\n")
    settings = {"CDC_MAPPINGS": str(mapping), "CDC_OPENSEARCH_ENDPOINT": endpoint, "CDC_OPENSEARCH_AUTH": "none"}
    function = ChangesFunction(open_runtime(load_settings({**settings, "CDC_CORE": os.environ.get("CDC_CORE", "")})))
    collect_seldom()  # as the function does at its start

    def handle(event: Event) -> object:
        answer = function(event, _Context())
        if answer["batchItemFailures"]:
            raise RuntimeError(f"not settled: {answer}")
        return answer

    return handle


def _sample(endpoint: str) -> Handler:
    """Do as tutorials show: every record becomes an action, all of them go to `helpers.bulk`."""
    from boto3.dynamodb.types import TypeDeserializer
    from opensearchpy import OpenSearch, helpers

    client = OpenSearch(endpoint)
    deserialize = TypeDeserializer().deserialize

    def handle(event: Event) -> object:
        actions: list[dict[str, Any]] = []
        for record in event["Records"]:
            keys = {name: deserialize(value) for name, value in record["dynamodb"]["Keys"].items()}
            identifier = f"{keys['pk']}|{keys['sk']}"
            if record["eventName"] == "REMOVE":
                actions.append({"_op_type": "delete", "_index": "orders", "_id": identifier})
            else:
                image = record["dynamodb"]["NewImage"]
                document = {name: deserialize(value) for name, value in image.items()}
                actions.append({"_op_type": "index", "_index": "orders", "_id": identifier, "_source": document})
        return helpers.bulk(client, actions)

    return handle
