"""A shard's pipeline that gets each table ready at its first change, in the shard's own thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cdc.deadline import Deadline
from cdc.delivery.shard import ShardPipeline
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, Observer, reason_of
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change, StreamView
from cdc.records.decoding import Record
from cdc.records.sequence import Stream

__all__ = ["Prepare", "Preparing"]

Prepare = Callable[[Stream, Sequence[str], StreamView], None]
"""Of the stream and table, the key attributes, the view: `Wiring.prepare`. Called by several threads at once."""


@dataclass(frozen=True)
class Preparing:
    """`pipeline` behind `prepare`. A Kinesis stream does not say which tables it carries, and a table gets a new stream
    while the consumer runs: each is met here first."""

    pipeline: ShardPipeline
    prepare: Prepare
    observer: Observer = UNOBSERVED
    _ready: set[tuple[str, str]] = field(default_factory=set)

    def write(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """As the pipeline's; all Deferred while a table can't be prepared because a sink is out of reach.

        Raises:
            ConfigError: a table can't be handled; names it.
            SinkMisconfigured: a retry cannot help; stop.
        """
        for record in records:
            if not isinstance(record, Change) or (record.stream.arn, record.table) in self._ready:
                continue
            try:
                self.prepare(record.stream, tuple(record.raw_keys), record.view)
            except SinkUnavailable as error:
                self.observer.retried(error.sink, reason_of(error.message))
                return [Deferred(error.message, error.wait_seconds)] * len(records)
            self._ready.add((record.stream.arn, record.table))
        return self.pipeline.write(records, deadline)

    def flush(self, deadline: Deadline) -> None:
        """As the pipeline's."""
        self.pipeline.flush(deadline)

    def close(self) -> None:
        """As the pipeline's."""
        self.pipeline.close()
