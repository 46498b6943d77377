"""One point of the growth case, in a process of its own: `python -m benchmarks.growing DIMENSION SIZE QUICK` does the
work and prints what it cost as JSON. `benchmarks.growth` starts it.

The work is the product's own way from bytes to lines of bulk requests, batch after batch as a shard reads them, into
nothing.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import orjson

from benchmarks.contenders import reader
from benchmarks.shapes import STREAM, Shape, flat, order, sized
from cdc.deadline import Deadline
from cdc.delivery.pipeline import Pipeline
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.outcome import Applied, Outcome, Rejected
from cdc.records.change import Change
from cdc.sinks.opensearch.bulk import action_bytes
from consumers.gc_tuning import collect_seldom

__all__ = ["DIMENSIONS", "Dimension", "Encoding", "Point", "measure"]

_BATCH = 1000
_BATCH_BYTES = 1_000_000
"""The most that a read of a shard gives (Amazon DynamoDB API Reference, "GetRecords")."""


@dataclass(frozen=True, slots=True)
class Point:
    """The cost of so much work."""

    cpu_seconds: float
    peak_bytes: int
    """By how much the process grew at its highest."""
    work_bytes: int = 0
    """The payloads that were held at once."""


class Encoding:
    """A sink that makes the lines of a bulk request and drops them."""

    name = "nothing"

    def __init__(self, compiled: CompiledMapping) -> None:
        self._compiled = compiled

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Applied, all of them."""
        lines = []
        for change in changes:
            for write in self._compiled.writes(change):
                if isinstance(write, Rejected):
                    raise RuntimeError(write.cause)  # noqa: TRY004  (of a benchmark's own item)
                lines.append(action_bytes(write, require_alias=True))
        b"".join(lines)
        return [Applied()] * len(changes)

    def flush(self, deadline: Deadline) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is held."""


def _pipeline(documents: str = "documents: [{index: orders}]") -> Pipeline:
    mapping = parse_mapping(f"table: shop\n{documents}", source="shop.yml")
    return Pipeline(Encoding(compile_mapping(mapping, "shop")), None)


def _payloads(shape: Shape, count: int) -> Iterator[bytes]:
    """Records of a shard, each with a sequence number of its own; made as they are read."""
    made = []
    for record in map(shape.adapter_record, range(min(count, 50))):
        before, _, after = orjson.dumps(record).partition(record["dynamodb"]["SequenceNumber"].encode())
        made.append((before, after))
    for number in range(count):
        before, after = made[number % len(made)]
        yield b"%s62%020d%s" % (before, number, after)


def _batches(payloads: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for payload in payloads:
        if batch and (len(batch) >= _BATCH or size + len(payload) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(payload)
        size += len(payload)
    yield batch


def _drain(pipeline: Pipeline, payloads: Iterator[bytes]) -> None:
    for batch in _batches(payloads):
        _settle(pipeline, batch)


def _settle(pipeline: Pipeline, batch: Sequence[bytes]) -> None:
    progress = pipeline.process(reader().adapter(batch, STREAM), Deadline.after(60))
    if progress.settled != len(batch):
        raise RuntimeError("not settled")


def _records(size: int, quick: bool) -> int:
    _drain(_pipeline(), _payloads(Shape("flat", "", flat), size))
    return 0


def _item_size(size: int, quick: bool) -> int:
    """The same number of records of each size."""
    _drain(_pipeline(), _payloads(Shape("sized", "", sized(size)), 20 if quick else 200))
    return 0


def _documents(size: int, quick: bool) -> int:
    documents = "\n".join(f"  - index: orders-{number}" for number in range(size))
    _drain(_pipeline(f"documents:\n{documents}"), _payloads(Shape("flat", "", flat), 200 if quick else 3000))
    return 0


def _patterns(size: int, quick: bool) -> int:
    """So many documents of one index, of which the last takes the item."""
    patterns = [f"  - {{index: orders, where: {{sk: [{{prefix: 'NO#{number}'}}]}}}}" for number in range(size - 1)]
    documents = "\n".join([*patterns, "  - {index: orders, where: {sk: [{prefix: 'ORDER#'}]}}"])
    _drain(_pipeline(f"documents:\n{documents}"), _payloads(Shape("flat", "", flat), 200 if quick else 10_000))
    return 0


def _shards(size: int, quick: bool) -> int:
    """So many shards, each with a thread and a pipeline of its own, and the same number of records."""
    count = 100 if quick else 1000
    with ThreadPoolExecutor(size) as pool:
        list(pool.map(lambda _: _drain(_pipeline(), _payloads(Shape("order", "", order), count)), range(size)))
    return 0


def _large_in_shards(size: int, quick: bool) -> int:
    """So many shards, each with a batch of 400 KB items, all of them held at once."""
    barrier = Barrier(size)
    batch = next(_batches(_payloads(Shape("sized", "", sized(400_000)), 4)))

    def settle(_: int) -> None:
        mine = [bytes(bytearray(payload)) for payload in batch]
        records = reader().adapter(mine, STREAM)
        barrier.wait()
        if _pipeline().process(records, Deadline.after(60)).settled != len(mine):
            raise RuntimeError("not settled")
        barrier.wait()

    with ThreadPoolExecutor(size) as pool:
        list(pool.map(settle, range(size)))
    return size * sum(map(len, batch))


@dataclass(frozen=True, slots=True)
class Dimension:
    """Grows in steps, with the work at each; `flat_memory`: it must not need more memory as it grows."""

    title: str
    sizes: tuple[int, ...]
    quick_sizes: tuple[int, ...]
    work: Callable[[int, bool], int]
    """Returns the bytes of the payloads that it held at once, where that is the question."""
    flat_memory: bool = False


DIMENSIONS = {
    "records": Dimension("records of one shard", (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000), _records, True),
    "item_size": Dimension("bytes of an item", (200, 2_000, 20_000, 400_000), (200, 20_000), _item_size),
    "documents": Dimension("documents of a mapping, each takes every item", (1, 5, 10, 50), (1, 10), _documents),
    "patterns": Dimension("patterns of a mapping, the last one matches", (1, 5, 10, 50), (1, 10), _patterns),
    "shards": Dimension("shards in one process", (1, 4, 16, 64), (1, 8), _shards),
    "large_in_shards": Dimension("shards, each with a batch of 400 KB items", (1, 4, 16, 64), (1, 4), _large_in_shards),
}


def _resident() -> int:
    """The most memory that this process had, in bytes. Linux counts what a parent had into `ru_maxrss`."""
    status = Path("/proc/self/status")
    if status.is_file():
        (most,) = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(most) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(dimensions: Mapping[str, Dimension], arguments: Sequence[str]) -> None:
    """Do the work of a dimension that the arguments name, and print its cost."""
    name, number, mode = arguments
    dimension, size, quick = dimensions[name], int(number), mode == "quick"
    collect_seldom()  # as the consumer does
    resident = _resident()
    dimension.work(dimension.quick_sizes[0], True)  # what is made once
    began = time.process_time()
    held = dimension.work(size, quick)
    point = {"cpu_seconds": time.process_time() - began, "peak_bytes": _resident() - resident, "work_bytes": held}
    print(json.dumps(point))


if __name__ == "__main__":
    measure(DIMENSIONS, sys.argv[1:])
