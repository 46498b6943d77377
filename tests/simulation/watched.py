"""Watches between the product and the simulated servers: clients, pipelines, shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cdc.deadline import Deadline
from cdc.delivery.shard import Checkpoint, Payload, ShardConsumer, ShardPipeline
from cdc.outcome import Outcome
from cdc.records.change import Change
from cdc.records.decoding import Record
from cdc.records.sequence import SequenceNumber
from tests.simulation.checker import Checker

__all__ = ["Caller", "CheckedShard", "WatchedClient", "WatchedPipeline"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Caller:
    """Whose request it is: a shard of a worker, or an invocation."""

    is_kcl: bool
    wanted: Callable[[], bool]


class WatchedClient:
    """A server's client in a process: tells of each request before it is sent."""

    def __init__(self, server: Any, asked: Callable[..., None]) -> None:
        self._server = server
        self._asked = asked

    def bulk(self, **request: Any) -> Any:
        self._asked(is_write=True)
        return self._server.bulk(**request)

    def put_object(self, **request: Any) -> Any:
        self._asked(is_write=False)
        return self._server.put_object(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


@dataclass(frozen=True)
class WatchedPipeline:
    """A shard's pipeline; what it is asked to write is looked at."""

    pipeline: ShardPipeline
    checker: Checker
    callers: list[Caller]
    caller: Caller

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """Write through the pipeline."""
        if not deadline.expired:
            self.checker.tried((record for record in records if isinstance(record, Change)), "KCL")
        return self._called(lambda: self.pipeline.write(records, deadline))

    def flush(self, deadline: Deadline) -> None:
        """Flush the pipeline."""
        self._called(lambda: self.pipeline.flush(deadline))

    def close(self) -> None:
        """Close the pipeline."""
        self.pipeline.close()

    def _called(self, act: Callable[[], _T]) -> _T:
        self.callers.append(self.caller)
        try:
            return act()
        finally:
            self.callers.pop()


class CheckedShard:
    """A shard's consumer whose checkpoints are checked as they are made."""

    def __init__(
        self, consumer: ShardConsumer, read: Callable[[Sequence[Payload]], Sequence[Record]], checker: Checker
    ) -> None:
        self._consumer = consumer
        self._read = read
        self._checker = checker
        self._open: list[Change] = []

    def process(self, payloads: Sequence[Payload], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        """Take a batch."""
        self._open += [record for record in self._read(payloads) if isinstance(record, Change)]
        self._consumer.process(payloads, self._checked(checkpoint), millis_behind)

    def lease_lost(self) -> None:
        """Another has the shard."""
        self._consumer.lease_lost()

    def shard_ended(self, checkpoint: Checkpoint) -> None:
        """All was delivered."""
        self._consumer.shard_ended(self._checked(checkpoint))

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        """The lease is given up after this."""
        self._consumer.shutdown_requested(self._checked(checkpoint))

    def _checked(self, checkpoint: Checkpoint) -> Checkpoint:
        def checked(sequence: SequenceNumber | None) -> None:
            checkpoint(sequence)
            done = [one for one in self._open if sequence is None or one.sequence <= sequence]
            self._open = self._open[len(done) :]
            self._checker.acknowledged(done)

        return checked
