"""Java's record processors → ShardConsumer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tenacity

from cdc.sequence import SequenceNumber, Stream
from consumers.kcl.shard import Checkpoint, LeaseLost, ShardConsumer

__all__ = ["MakeShard", "make_factory"]

log = logging.getLogger(__name__)

MakeShard = Callable[[Stream, str, str], ShardConsumer]
"""Of the stream, the shard's id and its lease key."""

# the adapter takes no other
_PROCESSOR = "com.amazonaws.services.dynamodbv2.streamsadapter.processor.DynamoDBStreamsShardRecordProcessor"
_LEASES = "software.amazon.kinesis.exceptions."


def make_factory(jpype: Any, names: dict[str, Stream], make: MakeShard, fail: Callable[[BaseException], None]) -> Any:
    """A factory that the KCL asks for a processor for each shard it gets the lease of. Keep it: Java calls it back."""

    @jpype.JImplements(_PROCESSOR)
    class Processor:
        def __init__(self, stream_name: str) -> None:
            self._stream_name = stream_name
            self._shard: ShardConsumer | None = None

        @jpype.JOverride
        def initialize(self, given: Any) -> None:
            shard = str(given.shardId())
            try:
                self._shard = make(names[self._stream_name], shard, f"{self._stream_name}:{shard}")
            except BaseException as failure:  # noqa: BLE001  (nothing may reach the KCL)
                fail(failure)

        @jpype.JOverride
        def processRecords(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is None:
                return
            try:
                payloads = [bytes(record.data().array()) for record in given.records()]
                behind = given.millisBehindLatest()
            except BaseException as failure:  # noqa: BLE001  (nothing may reach the KCL)
                fail(failure)
                self._shard = None
                return
            checkpoint = _checkpoint(jpype, given.checkpointer())
            self._shard.process(payloads, checkpoint, int(behind) if behind is not None else 0)

        @jpype.JOverride
        def leaseLost(self, _given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.lease_lost()

        @jpype.JOverride
        def shardEnded(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.shard_ended(_checkpoint(jpype, given.checkpointer()))

        @jpype.JOverride
        def shutdownRequested(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.shutdown_requested(_checkpoint(jpype, given.checkpointer()))

    @jpype.JImplements("software.amazon.kinesis.processor.ShardRecordProcessorFactory")
    class Factory:
        @jpype.JOverride
        def shardRecordProcessor(self, *stream: Any) -> Any:  # noqa: N802  (Java's name)
            # asked without a stream, the factory only shows what its processors are
            processor = Processor(str(stream[0].serialize()) if stream else "")
            kept_alive.append(processor)
            return processor

    kept_alive: list[Any] = []
    return Factory()


def _checkpoint(jpype: Any, checkpointer: Any) -> Checkpoint:
    """Checkpoints tried again while DynamoDB throttles or does not answer."""
    lost = jpype.JClass(f"{_LEASES}ShutdownException")
    passing = (
        jpype.JClass(f"{_LEASES}ThrottlingException"),
        jpype.JClass(f"{_LEASES}KinesisClientLibDependencyException"),
    )

    def checkpoint(sequence: SequenceNumber | None) -> None:
        try:
            if sequence is None:
                checkpointer.checkpoint()
            else:
                checkpointer.checkpoint(jpype.JString(sequence.text))
        except lost as error:
            raise LeaseLost from error

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(passing),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_after_attempt(8),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return lambda sequence: retrying(checkpoint, sequence)
