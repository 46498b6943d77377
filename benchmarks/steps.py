"""Steps: where our own time for a record goes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import orjson

from benchmarks.contenders import mapping, reader
from benchmarks.results import Result, Row
from benchmarks.shapes import SHAPES, STREAM
from benchmarks.side_by_side import Contender, side_by_side
from cdc.archive import archived_of
from cdc.mappings.writes import Put
from cdc.records.change import Change
from cdc.records.reading import RecordReader
from cdc.sinks.opensearch.bulk import action_bytes

__all__ = ["compressed", "steps"]


def steps(names: tuple[str, ...], *, rounds: int, turn_seconds: float) -> Iterator[Result]:
    """A table for each shape: the steps of a record one by one, each with what it needs ready."""
    for name in names:
        shape = SHAPES[name]
        count = 20
        series = side_by_side(_steps(name, count), rounds=rounds, turn_seconds=turn_seconds)
        rows = [Row(step, {"CPU µs a record": one.cpu.median / count * 1e6}) for step, one in series.items()]
        yield Result(f"Our steps, from the parsed event: {shape.title}", rows)


def _steps(name: str, count: int) -> dict[str, Contender]:
    event = json.loads(json.dumps({"Records": [SHAPES[name].record(number) for number in range(count)]}))
    compiled, records = mapping(), reader()
    changes = [change for change in records.lambda_event(event) if isinstance(change, Change)]
    writes = [write for change in changes for write in compiled.writes(change) if isinstance(write, Put)]
    return {
        "the record is read": lambda: records.lambda_event(event),
        "what differs": lambda: [change.differences() for change in changes],
        "owner, id, version and document": lambda: [compiled.writes(change) for change in changes],
        "the archive's line": lambda: [archived_of(change) for change in changes],
        "the lines of the request": lambda: [action_bytes(write, require_alias=True) for write in writes],
    }


def compressed(*, rounds: int, turn_seconds: float) -> Iterator[Result]:
    """The lines of an archive's object, by both libraries at the levels that it has."""
    for name in ("flat", "order"):
        shape, count = SHAPES[name], 2000
        changes = RecordReader().adapter([orjson.dumps(shape.adapter_record(one)) for one in range(count)], STREAM)
        lines = b"\n".join(archived_of(change).line for change in changes if isinstance(change, Change))
        ways: dict[str, Callable[[], bytes]] = {"gzip, level 6": lambda lines=lines: gzip.compress(lines, 6)}  # type: ignore[misc]
        if find_spec("isal") is not None:
            from isal import igzip

            ways["ISA-L, level 2"] = lambda lines=lines: igzip.compress(lines, 2)  # type: ignore[misc]
        series = side_by_side(ways, rounds=min(rounds, 5), turn_seconds=turn_seconds)
        rows = [
            Row(
                way,
                {
                    "CPU µs a record": series[way].cpu.median / count * 1e6,
                    "% of the size": 100 * len(compress()) / len(lines),
                },
            )
            for way, compress in ways.items()
        ]
        yield Result(f"An archive's lines, compressed: {shape.title}", rows)
