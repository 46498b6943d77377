"""Java's record processors → ShardConsumer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tenacity

from cdc.delivery.consumer_state import Running
from cdc.delivery.shard import Checkpoint, LeaseLost, ShardConsumer
from cdc.records.sequence import SequenceNumber
from consumers.kcl.java.jvm import called
from consumers.kcl.leases.stream_tracker import StreamNames
from consumers.kcl.sources.retrieval import Retrieval

__all__ = ["MakeShard", "make_factory"]

log = logging.getLogger(__name__)

MakeShard = Callable[[str, str, str], ShardConsumer | None]
"""Takes the stream's ARN, the shard's id and its lease key; None: it is not this worker's to read."""

_CHECKPOINT_ATTEMPTS = 8
_LEASES = "software.amazon.kinesis.exceptions."


def make_factory(
    jpype: Any, retrieval: Retrieval, names: StreamNames, make: MakeShard, running: Running, shutdown_seconds: float
) -> Any:
    """A factory that the KCL asks for a processor for each shard it gets the lease of. Keep it: Java calls it back.

    Within a stop, checkpoints are tried again for no longer than `shutdown_seconds` after it was asked.
    """

    def patient() -> bool:
        return running.stopping_seconds() < shutdown_seconds

    @jpype.JImplements(retrieval.processor)
    class Processor:
        def __init__(self, stream_name: str) -> None:
            self._stream_name = stream_name
            self._shard: ShardConsumer | None = None

        @called
        def initialize(self, given: Any) -> None:
            shard, arn = str(given.shardId()), names.arns.get(self._stream_name)
            try:
                if arn is not None:
                    self._shard = make(arn, shard, f"{self._stream_name}:{shard}")
            except BaseException as failure:  # noqa: BLE001  (nothing may reach the KCL)
                running.fail(failure)
                return
            if self._shard is None:  # the KCL does not see such leases; if it did, nothing would be acknowledged
                log.warning("given %s of %s, which this worker does not follow: nothing of it is read", shard, arn)

        @called
        def processRecords(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is None:
                return
            try:
                payloads = retrieval.payloads(given.records())
                behind = given.millisBehindLatest()
            except BaseException as failure:  # noqa: BLE001  (nothing may reach the KCL)
                running.fail(failure)
                self._shard = None
                return
            checkpoint = _checkpoint(jpype, given.checkpointer(), patient)
            self._shard.process(payloads, checkpoint, int(behind) if behind is not None else 0)

        @called
        def leaseLost(self, _given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.lease_lost()

        @called
        def shardEnded(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.shard_ended(_checkpoint(jpype, given.checkpointer(), patient))

        @called
        def shutdownRequested(self, given: Any) -> None:  # noqa: N802  (Java's name)
            if self._shard is not None:
                self._shard.shutdown_requested(_checkpoint(jpype, given.checkpointer(), patient))

    @jpype.JImplements("software.amazon.kinesis.processor.ShardRecordProcessorFactory")
    class Factory:
        @called
        def shardRecordProcessor(self, *stream: Any) -> Any:  # noqa: N802  (Java's name)
            # asked without a stream, the factory only shows what its processors are
            processor = Processor(str(stream[0].serialize()) if stream else "")
            kept_alive.append(processor)
            return processor

    kept_alive: list[Any] = []
    return Factory()


def _checkpoint(jpype: Any, checkpointer: Any, patient: Callable[[], bool]) -> Checkpoint:
    """Checkpoints tried again while DynamoDB throttles or does not answer, as long as there is patience."""
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
        stop=lambda state: state.attempt_number >= _CHECKPOINT_ATTEMPTS or not patient(),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    return lambda sequence: retrying(checkpoint, sequence)
