"""Lambda's event source mapping on this machine: a stream's batches to a function in the emulator.

`python -m local.lambda_run --help` runs it for a function of your own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import uuid4

import orjson

from cdc.testing.simulated.batches import Batches, BatchRules, Lane, OnFailure, Source
from cdc.testing.simulated.invocation import lowest_failed

__all__ = ["FailureBucket", "Invoke", "LocalEventSourceMapping", "PolledSource"]

log = logging.getLogger(__name__)

Invoke = Callable[[dict[str, Any]], Any]
"""Invokes the function with an event and returns its answer; raises whatever it likes when the invocation failed."""

_POLL_SECONDS = 0.25  # "Polling and batching streams": four times a second
_PAYLOAD_BYTES = 6 * 1024 * 1024  # the largest event of a synchronous invocation; a batch is cut before it


class PolledSource(Source, Protocol):
    """A source that has to be asked for what is new: `StreamSource`."""

    def poll(self) -> None:
        """Read on."""
        ...


class LocalEventSourceMapping:
    """Reads a stream and invokes a function with its batches, by the rules of Lambda (`cdc.testing.simulated.batches`).

    Per shard and in order, parents before children. A batch is sent when it is full (`rules.batch_size` records or
    6 MB), when `window_seconds` have passed since the first of it was read, or when its shard has ended. A batch whose
    invocation failed, timed out or answered badly is delivered again, halved first where the rules say so; of a partial
    answer everything from the lowest sequence number on is; waits grow from one second to a minute. A batch that is
    given up goes to `on_failure`; without it that is an error in the log.

    One invocation at a time: the emulator is one environment. So `parallelization_factor` has to be 1. Where it stands
    is in its memory only: it starts at the source's position.
    """

    def __init__(
        self,
        invoke: Invoke,
        source: PolledSource,
        rules: BatchRules,
        *,
        window_seconds: float = 0.0,
        on_failure: OnFailure | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if rules.parallelization_factor != 1:
            raise ValueError("the emulator runs one invocation at a time: parallelization_factor is 1")
        self._batches = Batches(source, rules, now, _Dropped() if on_failure is None else on_failure)
        self._invoke = invoke
        self._source = source
        self._window = window_seconds
        self._now = now
        self._polled = 0.0
        self._gathering: dict[str, tuple[int, float]] = {}
        self._turns: dict[str, int] = {}

    @property
    def counts(self) -> Counter[str]:
        """Counts invocations: `invoked`, `succeeded`, `partial`, `failed`, `bisected`, `exhausted`.
        Of records: `too old`."""
        return self._batches.counts

    @property
    def settled(self) -> int:
        """How many records need no more: their function has acknowledged them, or `on_failure` has them."""
        return self._batches.settled

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            if not self.step():
                stop.wait(_POLL_SECONDS)

    def step(self) -> bool:
        """Read if it is time to, and invoke the function once if a batch is due. False: none was."""
        if time.monotonic() - self._polled >= _POLL_SECONDS:
            self._source.poll()
            self._polled = time.monotonic()
        lanes = self._batches.lanes()
        for lane in lanes:
            self._batches.drop_old(lane)
        due = [lane for lane in lanes if lane.left and self._is_due(lane)]
        if not due:
            return False
        self._deliver(min(due, key=lambda lane: self._turns.get(lane.shard.id, 0)))
        return True

    def _is_due(self, lane: Lane) -> bool:
        """Sets the size of the batch if it is."""
        if lane.batches:
            return lane.not_before <= self._now()
        size, is_full = self._cut(lane)
        place, since = self._gathering.get(lane.shard.id, (-1, 0.0))
        if place != lane.done:
            since = self._now()
            self._gathering[lane.shard.id] = lane.done, since
        if not (is_full or lane.shard.closed or self._now() - since >= self._window):
            return False
        lane.batches.append(size)
        return True

    def _cut(self, lane: Lane) -> tuple[int, bool]:
        """How many records go into the next batch, and can't it hold more?"""
        bytes_left = _PAYLOAD_BYTES
        most = min(lane.left, self._batches.rules.batch_size)
        for size in range(most):
            bytes_left -= len(orjson.dumps(lane.waiting[lane.done + size].record)) + 1
            if bytes_left < 0 and size:
                return size, True
        return most, most == self._batches.rules.batch_size

    def _deliver(self, lane: Lane) -> None:
        batch = lane.batch
        self.counts["invoked"] += 1
        self._turns[lane.shard.id] = self.counts["invoked"]
        try:
            answer = self._invoke({"Records": [record.record for record in batch]})
            resume = lowest_failed(answer, [record.sequence for record in batch])
        except Exception as error:  # noqa: BLE001  (whatever ends an invocation, Lambda goes on)
            log.warning("%s: an invocation with %d records failed: %s", lane.shard.id, len(batch), error)
            self._batches.failed(lane, batch)
        else:
            self._batches.answered(lane, batch, resume)


class FailureBucket:
    """An OnFailure destination of S3: an object a batch that was given up, named as Lambda names it.

    (AWS Lambda Developer Guide, "Retain discarded records for a DynamoDB event source in Lambda".)
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._mapping_id = uuid4()
        self._kept = 0

    def append(self, record: dict[str, Any], /) -> None:
        """Store one."""
        about = record.get("DDBStreamBatchInfo") or record["KinesisBatchInfo"]
        now = datetime.now(UTC)
        key = f"aws/lambda/{self._mapping_id}/{about['shardId']}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid4()}"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=orjson.dumps(record))
        self._kept += 1
        log.warning(
            "%d records of %s were given up: s3://%s/%s", about["batchSize"], about["shardId"], self._bucket, key
        )

    def __len__(self) -> int:
        """How many were stored."""
        return self._kept


class _Dropped:
    """No destination: a batch that is given up is gone, as in Lambda, and the log says so."""

    def __init__(self) -> None:
        self._count = 0

    def append(self, record: dict[str, Any], /) -> None:
        self._count += 1
        log.error(
            "a batch was given up (%s) and there is no OnFailure destination: %s",
            record["requestContext"]["condition"],
            record.get("DDBStreamBatchInfo") or record["KinesisBatchInfo"],
        )

    def __len__(self) -> int:
        return self._count
