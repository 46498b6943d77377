"""A stream in memory: shards that split, merge, close and forget. Tables' streams and Kinesis are made of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from cdc.testing.clock import SimulatedClock

__all__ = [
    "RETENTION_SECONDS",
    "ShardRecord",
    "Sharded",
    "SimulatedShard",
    "SimulatedStream",
    "adapter_payload",
    "counter_number",
]

RETENTION_SECONDS = 24 * 3600.0  # Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams"
HASHES = 1 << 32
_POSITIONS: int = 10**20


def counter_number(counter: int, position: int) -> int:
    """A DynamoDB sequence number: a counter that grows along a lineage, then 20 digits of a log position."""
    return counter * _POSITIONS + position


def adapter_payload(record: Mapping[str, Any]) -> bytes:
    """The KCL adapter's `record.data()` for a record in Lambda's shape: creation in epoch milliseconds,
    absent images as empty objects, no ARN."""
    facts = record["dynamodb"]
    payload = {name: value for name, value in record.items() if name not in {"dynamodb", "eventSourceARN"}}
    payload["dynamodb"] = {
        **facts,
        "ApproximateCreationDateTime": round(facts["ApproximateCreationDateTime"] * 1000),
        "NewImage": facts.get("NewImage", {}),
        "OldImage": facts.get("OldImage", {}),
    }
    return orjson.dumps(payload)


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A record as a shard holds it.

    `item` stands for the item's keys (32 hex digits), `record` is what Lambda would be given, `written` the time it
    came into the shard, in seconds.
    """

    sequence: str
    item: str
    written: float
    record: Mapping[str, Any]
    data: bytes | None = None
    """Its payload, where that is not what the KCL's adapter for DynamoDB makes of `record`."""

    @property
    def number(self) -> int:
        """The sequence number as the integer it is."""
        return int(self.sequence)

    @property
    def payload(self) -> bytes:
        """The payload that a KCL processor is given."""
        return adapter_payload(self.record) if self.data is None else self.data


class SimulatedShard:
    """Records in the order of their sequence numbers; those older than 24 hours are trimmed as the clock goes on.

    It takes the partition keys whose hash is from `low` to `high`, the latter not included.
    """

    def __init__(
        self,
        stream_arn: str,
        shard_id: str,
        hashes: tuple[int, int],
        clock: SimulatedClock,
        parents: tuple[SimulatedShard, ...] = (),
    ) -> None:
        self.stream_arn = stream_arn
        self.id = shard_id
        self.low, self.high = hashes
        self.parents = parents
        self.records: list[ShardRecord] = []
        """All there ever were, trimmed ones included: `trimmed` says where the readable ones begin."""
        self.closed = False
        self.closed_at: float | None = None
        self.counter: int = max((parent.counter for parent in parents), default=0)
        self._clock = clock
        self._trimmed = 0

    def __repr__(self) -> str:
        return f"<{self.id} of {self.stream_arn}>"

    @property
    def trimmed(self) -> int:
        """How many records, from the first on, can't be read any more."""
        horizon = self._clock() - RETENTION_SECONDS
        while self._trimmed < len(self.records) and self.records[self._trimmed].written < horizon:
            self._trimmed += 1
        return self._trimmed

    def after(self, number: int) -> int:
        """The place of the first record behind this sequence number."""
        return bisect_right(self.records, number, key=lambda record: record.number)


class Sharded(Protocol):
    """A source of shards for consumers: a stream, or all streams of a table."""

    @property
    def shards(self) -> Sequence[SimulatedShard]:
        """All there ever were, each after its parents."""
        ...


class SimulatedStream:
    """Shards that cover all hashes of partition keys.

    `number` makes a sequence number of a shard's counter, which starts at 1 and goes on in the shard's children. So
    the same number may occur in two shards that are not of one lineage, as it may in real streams.
    """

    def __init__(
        self,
        arn: str,
        clock: SimulatedClock,
        *,
        shards: int = 1,
        shard_id: Callable[[int], str],
        number: Callable[[int], int],
    ) -> None:
        self.arn = arn
        self.closed_at: float | None = None
        self.shards: list[SimulatedShard] = []
        self._clock = clock
        self._shard_id = shard_id
        self._number = number
        for place in range(shards):
            self._add((HASHES * place // shards, HASHES * (place + 1) // shards))

    @property
    def open_shards(self) -> list[SimulatedShard]:
        """Those that take records."""
        return [shard for shard in self.shards if not shard.closed]

    def shard_of(self, partition: int) -> SimulatedShard:
        """The open shard that takes this hash of a partition key."""
        for shard in reversed(self.shards):
            if not shard.closed and shard.low <= partition < shard.high:
                return shard
        raise LookupError(f"{self.arn} is closed")

    def number(self, shard: SimulatedShard) -> str:
        """The next sequence number of a shard."""
        shard.counter += 1
        return str(self._number(shard.counter))

    def bounds(self, shard: SimulatedShard) -> tuple[str, str | None]:
        """The first sequence number of a shard, there yet or not, and the last one if it is closed: the first again if
        it has no record."""
        first = max((parent.counter for parent in shard.parents), default=0) + 1
        last = str(self._number(max(first, shard.counter))) if shard.closed else None
        return str(self._number(first)), last

    def split(self, shard: SimulatedShard) -> tuple[SimulatedShard, SimulatedShard]:
        """Close a shard; two children take half of its hashes each, whatever items are hot."""
        middle = (shard.low + shard.high) // 2
        self._close(shard)
        return self._add((shard.low, middle), shard), self._add((middle, shard.high), shard)

    def roll(self, shard: SimulatedShard) -> SimulatedShard:
        """Close a shard; one child takes its place, as DynamoDB does every four hours."""
        self._close(shard)
        return self._add((shard.low, shard.high), shard)

    def merge(self, first: SimulatedShard, second: SimulatedShard) -> SimulatedShard:
        """Close two neighbours; one child takes the hashes of both."""
        low, high = sorted((first, second), key=lambda shard: shard.low)
        if low.high != high.low:
            raise ValueError(f"{low} and {high} are not neighbours")
        self._close(low)
        self._close(high)
        return self._add((low.low, high.high), low, high)

    def close(self) -> None:
        """No more records: what is there can be read for 24 hours."""
        for shard in self.open_shards:
            self._close(shard)
        self.closed_at = self._clock()

    def _close(self, shard: SimulatedShard) -> None:
        if shard.closed:
            raise ValueError(f"{shard} is closed already")
        shard.closed, shard.closed_at = True, self._clock()

    def _add(self, hashes: tuple[int, int], *parents: SimulatedShard) -> SimulatedShard:
        shard = SimulatedShard(self.arn, self._shard_id(len(self.shards)), hashes, self._clock, parents)
        self.shards.append(shard)
        return shard
