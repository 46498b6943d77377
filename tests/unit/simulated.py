"""A table with changes, and consumers of it that write down what they are told, for tests of simulated consumers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cdc.delivery.shard import Checkpoint, LeaseLost, Payload
from cdc.testing import (
    SimulatedClock,
    SimulatedEventSourceMapping,
    SimulatedKcl,
    SimulatedTable,
    SimulatedWorker,
)


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311  (not a secret)


class World:
    """A table with some changes, and what was seen of them."""

    def __init__(self, changes: int = 10, *, items: int = 3, shards: int = 1) -> None:
        self.clock = SimulatedClock()
        self.table = SimulatedTable("shop", self.clock, seeded(), shards=shards)
        self.items = items
        self.written = 0
        self.write(changes)

    def write(self, changes: int) -> None:
        for _ in range(changes):
            self.written += 1
            self.table.put((f"item {self.written % self.items}", 1), {"total": self.written})

    @property
    def identities(self) -> list[str]:
        return [write.identity for write in self.table.history]


def drain(consumer: SimulatedEventSourceMapping | SimulatedKcl, limit: int = 2000) -> None:
    for _ in range(limit):
        if not consumer.step():
            return
    raise AssertionError("it never ends")


def flat(batches: Sequence[Sequence[str]]) -> list[str]:
    return [number for batch in batches for number in batch]


@dataclass
class Processor:
    """Told what the KCL tells; checkpoints each batch unless told otherwise."""

    name: str
    shard: str
    holds_lease: Callable[[], bool]
    log: list[tuple[str, str, Any]]
    within: Callable[[Processor], None]
    checkpoints: bool = True

    def process(self, payloads: Sequence[Payload], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        numbers = [orjson.loads(given.data)["dynamodb"]["SequenceNumber"] for given in payloads]
        self.log.append((self.name, "process", numbers))
        self.within(self)
        if self.checkpoints:
            self._try(checkpoint, None)

    def _try(self, checkpoint: Checkpoint, sequence: None) -> None:
        try:
            checkpoint(sequence)
        except LeaseLost:
            self.log.append((self.name, "refused", self.shard))

    def lease_lost(self) -> None:
        self.log.append((self.name, "lost", self.shard))

    def shard_ended(self, checkpoint: Checkpoint) -> None:
        self.log.append((self.name, "ended", self.shard))
        checkpoint(None)

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        self.log.append((self.name, "shutdown", self.shard))
        self._try(checkpoint, None)


class Kcl:
    """A simulated KCL of processors that write a log."""

    def __init__(self, world: World, *names: str, checkpoints: bool = True, **facts: Any) -> None:
        self.log: list[tuple[str, str, Any]] = []
        self.within: Callable[[Processor], None] = lambda _: None
        self.checkpoints = checkpoints
        self.kcl = SimulatedKcl(
            world.table, [self.worker(name) for name in names], world.clock, seeded(), **{"max_batch": 5, **facts}
        )

    def worker(self, name: str) -> SimulatedWorker:
        return SimulatedWorker(
            name,
            lambda _arn, shard, holds: Processor(name, shard, holds, self.log, self._within, self.checkpoints),
        )

    def _within(self, processor: Processor) -> None:
        self.within(processor)

    def numbers(self, name: str | None = None) -> list[str]:
        return flat([batch for who, what, batch in self.log if what == "process" and name in {None, who}])

    def events(self, *kinds: str) -> list[tuple[str, str]]:
        return [(who, what) for who, what, _ in self.log if what in kinds]
