"""A table of the engine whose stream is a simulated one: it splits, rolls and is trimmed as a test says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cdc.records.identity import RecordIdentity
from cdc.records.stream import Stream
from cdc.testing import SimulatedClock, SimulatedShard, SimulatedTable, TableWrite
from local.streams_server import Answered, ServedStream, StreamsServer

__all__ = ["StreamedTable"]


class StreamedTable:
    """Every write goes to the real table and, under the ARN of its stream, to the simulated one.

    The stream's clock is the machine's, `ahead` seconds ahead. Threads may write at the same time.
    """

    def __init__(
        self, dynamodb: Any, name: str, arn: str, *, shards: int = 1, shards_per_page: int = 100, ahead: float = 0
    ) -> None:
        self.name = name
        self.arn = arn
        self._dynamodb = dynamodb
        self._ahead = ahead
        self._clock = SimulatedClock(time.time() + ahead)
        self._table = SimulatedTable(name, self._clock, random.Random(7), shards=shards)  # noqa: S311  (not a secret)
        self._writing = threading.RLock()  # taken before the server's: readers do not wait for the real table
        self.server = StreamsServer(self._clock, shards_per_page=shards_per_page)
        self.server.serve(ServedStream(arn, self._table.stream))

    @property
    def shards(self) -> list[SimulatedShard]:
        """All there ever were, each after its parent."""
        with self.server.lock:
            return list(self._table.stream.shards)

    @property
    def open_shards(self) -> list[SimulatedShard]:
        """Those that take records."""
        with self.server.lock:
            return self._table.stream.open_shards

    @property
    def answered(self) -> list[Answered]:
        """The answers that the stream's readers were given so far."""
        with self.server.lock:
            return list(self.server.answered)

    @property
    def identities(self) -> list[str]:
        """The identities of all changes ever made, oldest first."""
        label = Stream.dynamodb(self.arn).label
        return [str(RecordIdentity(label, write.sequence, write.digest)) for write in self._table.history]

    def put(self, key: str, number: int) -> None:
        """Write an item."""
        with self._writing:
            with self.at_once():
                write = self._table.put((key, "x"), {"n": number})
            self._mirror(write)

    def delete(self, key: str) -> None:
        """Remove an item, if it is there."""
        with self._writing:
            with self.at_once():
                write = self._table.delete((key, "x"))
            self._mirror(write)

    def write(self, numbers: range) -> None:
        """Write and remove 31 items, again and again."""
        for number in numbers:
            if number % 11 == 10:
                self.delete(f"k{number % 31}")
            else:
                self.put(f"k{number % 31}", number)

    def _mirror(self, write: TableWrite | None) -> None:
        if write is not None and write.after is not None:
            self._dynamodb.put_item(TableName=self.name, Item=write.after)
        elif write is not None:
            self._dynamodb.delete_item(TableName=self.name, Key=write.keys)

    def split(self, shard: SimulatedShard) -> tuple[SimulatedShard, SimulatedShard]:
        """Close a shard; it has two children."""
        with self.at_once():
            return self._table.stream.split(shard)

    def roll(self, shard: SimulatedShard) -> SimulatedShard:
        """Close a shard; it has one child."""
        with self.at_once():
            return self._table.stream.roll(shard)

    def let_pass(self, seconds: float) -> None:
        """The stream's clock goes on: records, shards and iterators get older."""
        with self.at_once():
            self._ahead += seconds
            self._clock.sleep(seconds)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let all that happens in the block happen at once for all who read the stream."""
        with self._writing, self.server.lock:
            self._clock.sleep(time.time() + self._ahead - self._clock())
            yield
