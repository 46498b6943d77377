"""Case 1, a record: both images, what differs, the encoded document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import orjson

from benchmarks.contenders import Parsed, floor, mapping, others, ours, ours_from_bytes, reader
from benchmarks.outputs import agree
from benchmarks.results import Goal, Result, Row
from benchmarks.shapes import SHAPES, STREAM, Shape
from benchmarks.side_by_side import Series, side_by_side
from benchmarks.steps import compressed, steps
from cdc.records.reading import RecordReader

__all__ = ["TITLE", "run"]

TITLE = "Record: both images, what differs, the encoded document"

_RECORDS = {"large": 5, "wide": 20}
"""In a batch, where it is not a hundred."""
_PARSED_GOALS = {"boto3 + json": 10.0, "dynamodb-json": 30.0}
_PATHS_GOAL = 1.0
_BATCHES = 20
"""Batches that a thread reads in its turn."""
_VALUES_GOALS = {"order": 1.0, "large": 1.0, "wide": 1.0, "flat": 2.0, "types": 2.0}
OURS, FLOOR = "ours", "orjson.loads alone"
VALUES, PURE = "ours, with both values of each difference", "ours, without the core"


def run(quick: bool) -> Iterator[Result]:
    """From the parsed event as Lambda gets it, then from bytes as the KCL gives them; last our own steps."""
    rounds, turn_seconds = (3, 0.005) if quick else (15, 0.04)
    for name in ("flat", "order", "large", "wide"):
        if not agree(name):
            raise RuntimeError(
                f"the contenders' documents of the shape {name} are not ours: no ratio would mean anything"
            )
    for shape in SHAPES.values():
        count = _RECORDS.get(shape.name, 100)
        yield _from_event(shape, count, side_by_side(_parsed(shape, count), rounds=rounds, turn_seconds=turn_seconds))
    for shape in SHAPES.values():
        count = _RECORDS.get(shape.name, 100)
        yield _from_bytes(shape, count, side_by_side(_bytes(shape, count), rounds=rounds, turn_seconds=turn_seconds))
    yield _threads(rounds, turn_seconds)
    yield from steps(("flat", "order", "types"), rounds=rounds, turn_seconds=turn_seconds)
    yield from compressed(rounds=rounds, turn_seconds=turn_seconds)


def _parsed(shape: Shape, count: int) -> Mapping[str, Callable[[], object]]:
    event: Parsed = json.loads(json.dumps({"Records": [shape.record(number) for number in range(count)]}))
    compiled = mapping()
    records = reader()
    contenders: dict[str, Callable[[], object]] = {OURS: lambda: ours(event, compiled, records)}
    for name, lines in others().items():
        contenders[name] = partial(lines, event)
    return contenders


def _bytes(shape: Shape, count: int) -> Mapping[str, Callable[[], object]]:
    payloads = [orjson.dumps(shape.adapter_record(number)) for number in range(count)]
    compiled = mapping()
    records = reader()
    boto3 = others()["boto3 + json"]
    return {
        FLOOR: lambda: floor(payloads),
        OURS: lambda: ours_from_bytes(payloads, compiled, records, with_values=False),
        VALUES: lambda: ours_from_bytes(payloads, compiled, records, with_values=True),
        PURE: lambda: ours_from_bytes(payloads, compiled, RecordReader(), with_values=True),
        "boto3 + json": lambda: boto3({"Records": [json.loads(payload) for payload in payloads]}),
    }


def _threads(rounds: int, turn_seconds: float) -> Result:
    """Two shards' threads, each with batches of its own to read, beside one that has half of the work."""
    records = reader()
    batches = [[orjson.dumps(SHAPES["order"].adapter_record(number)) for number in range(1000)] for _ in range(2)]

    def read(batch: Sequence[bytes]) -> None:
        for _ in range(_BATCHES):  # one after the other, as a shard's come
            records.adapter(batch, STREAM)

    with ThreadPoolExecutor(2) as pool:
        series = side_by_side(
            {"one thread": lambda: read(batches[0]), "two threads": lambda: list(pool.map(read, batches))},
            rounds=rounds,
            turn_seconds=turn_seconds,
        )
    gained = 2 / series["two threads"].wall_times(series["one thread"]).median
    rows = [Row(name, {"ms on the clock": one.wall.median * 1e3}) for name, one in series.items()]
    return Result(
        f"{_BATCHES} batches of 1,000 orders, read by each thread",
        rows,
        [Goal("two shard threads: ≥ 1.6 × one", gained, least=1.6)],
    )


def _from_event(shape: Shape, count: int, series: Mapping[str, Series]) -> Result:
    mine = series[OURS]
    goals = [
        Goal(f"record, {shape.title}, parsed event: ≥ {least:g} × {name}", series[name].times(mine).median, least=least)
        for name, least in _PARSED_GOALS.items()
    ]
    return Result(f"From the parsed event: {shape.title}", _rows(series, OURS, count), goals)


def _from_bytes(shape: Shape, count: int, series: Mapping[str, Series]) -> Result:
    goals = [
        Goal(
            f"record, {shape.title}, from bytes, {what}: ≤ {most:g} × {FLOOR}",
            series[name].times(series[FLOOR]).median,
            most=most,
        )
        for what, name, most in (("paths", OURS, _PATHS_GOAL), ("values", VALUES, _VALUES_GOALS[shape.name]))
    ]
    return Result(f"From bytes: {shape.title}", _rows(series, FLOOR, count), goals)


def _rows(series: Mapping[str, Series], base: str, count: int) -> list[Row]:
    return [
        Row(
            name,
            {
                "CPU µs a record": one.cpu.median / count * 1e6,
                f"times {base} (quartiles)": one.times(series[base]) if name != base else "1",
            },
        )
        for name, one in series.items()
    ]
