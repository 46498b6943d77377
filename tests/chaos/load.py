"""Load: several hundred changes a second on a few hot items and many cold ones, deletes and re-makes among them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

__all__ = ["Load", "cold_items"]

_HOT, _COLD = 6, 1500
_BATCH = 25  # as many as BatchWriteItem takes
_DELETED = 0.15


@dataclass
class Load:
    """Writes `table` from two threads until stopped; `written` counts what was answered, in `seconds`."""

    dynamodb: Any
    table: str
    seed: int
    batches_per_second: float = 16
    singles_per_second: float = 20
    cold: int = _COLD
    """How many cold items there are."""
    written: int = 0
    seconds: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _writers: list[_Writer] = field(default_factory=list)

    def start(self) -> None:
        """Start the writers."""
        self.seconds = -time.monotonic()
        self._writers = [
            _Writer(self, _batches(random.Random(self.seed), self.cold), _BATCH, self.batches_per_second),  # noqa: S311
            _Writer(self, _singles(random.Random(self.seed + 1)), 1, self.singles_per_second),  # noqa: S311
        ]
        for writer in self._writers:
            writer.start()

    def stop(self) -> None:
        """Stop the writers; what failed in them is raised."""
        self._stop.set()
        for writer in self._writers:
            writer.join()
        self.seconds += time.monotonic()
        for writer in self._writers:
            if writer.failure is not None:
                raise writer.failure

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is written within the block."""
        with ExitStack() as held:
            for writer in self._writers:
                held.enter_context(writer.turn)
            yield

    @property
    def stopped(self) -> threading.Event:
        """Set when the writers are to end."""
        return self._stop


class _Writer(threading.Thread):
    """Makes the requests it is given, so many a second."""

    def __init__(self, load: Load, requests: Iterator[_Request], counts: int, per_second: float) -> None:
        super().__init__(daemon=True, name="load")
        self.turn = threading.Lock()
        self.failure: BaseException | None = None
        self._load = load
        self._requests = requests
        self._counts = counts
        self._interval = 1 / per_second

    def run(self) -> None:
        due = time.monotonic()
        try:
            for request in self._requests:
                if self._load.stopped.wait(max(0.0, due - time.monotonic())):
                    return
                with self.turn:
                    request(self._load.dynamodb, self._load.table)
                self._load.written += self._counts
                due = max(due + self._interval, time.monotonic() - 1)
        except BaseException as failure:  # noqa: BLE001  (raised by stop)
            self.failure = failure


_Request = Callable[[Any, str], Any]


def _batches(chance: random.Random, count: int) -> Iterator[_Request]:
    """Puts and deletes of many cold items, and of two hot ones: a batch costs less than its writes one by one."""
    number = 0
    while True:
        cold = [_cold_key(cold) for cold in chance.sample(range(count), _BATCH - 2)]
        writes: list[Any] = []
        for key in [*cold, *map(_hot_key, chance.sample(range(_HOT), 2))]:
            number += 1
            if chance.random() < _DELETED:
                writes.append({"DeleteRequest": {"Key": key}})
            else:
                writes.append({"PutRequest": {"Item": {**key, **_attributes(chance, number)}}})
        yield partial(_batch, writes)


def _singles(chance: random.Random) -> Iterator[_Request]:
    """Single writes of the hot items: puts, updates in place, deletes."""
    number = 0
    while True:
        number += 1
        key = _hot_key(chance.randrange(_HOT))
        kind = chance.random()
        if kind < _DELETED:
            yield partial(_delete, key)
        elif kind < 0.5:
            yield partial(_put, {**key, **_attributes(chance, number)})
        else:
            yield partial(_update, key, number)


def cold_items(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The cold items, as they may stand before the load begins."""
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    for cold in range(count):
        yield {**_cold_key(cold), **_attributes(chance, 0)}


def _cold_key(cold: int) -> dict[str, Any]:
    return {"pk": {"S": f"cold|{cold % 40}"}, "sk": {"S": f"%{cold}"}}


def _hot_key(hot: int) -> dict[str, Any]:
    return {"pk": {"S": f"hot-{hot}"}, "sk": {"S": "日本"}}


def _delete(key: Any, dynamodb: Any, table: str) -> None:
    dynamodb.delete_item(TableName=table, Key=key)


def _put(item: Any, dynamodb: Any, table: str) -> None:
    dynamodb.put_item(TableName=table, Item=item)


def _update(key: Any, number: int, dynamodb: Any, table: str) -> None:
    dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET #n = :n ADD #times :one",
        ExpressionAttributeNames={"#n": "n", "#times": "times"},
        ExpressionAttributeValues={":n": {"N": str(number)}, ":one": {"N": "1"}},
    )


def _batch(writes: list[Any], dynamodb: Any, table: str) -> None:
    left = {table: writes}
    while left:
        left = dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems", {})


def _attributes(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "n": {"N": str(number)},
        "price": {"N": f"{chance.randrange(10**37, 10**38)}"},
        "tags": {"SS": sorted({"red", "green", chance.choice(["blue", "grün", "赤"])})},
        "sizes": {"NS": ["1", f"{chance.randrange(2, 90)}.5"]},
        "raw": {"B": chance.randbytes(12)},
        "gone": {"NULL": True},
        "about": {"M": {"text": {"S": "x" * chance.randrange(200)}, "list": {"L": [{"N": "7"}, {"N": "1E+100"}]}}},
    }
