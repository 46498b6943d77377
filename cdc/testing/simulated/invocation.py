"""An invocation of a Lambda function, seen from its event source mapping: context, answer, failure record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from cdc.testing.clock import SimulatedClock
from cdc.testing.simulated.stream import ShardRecord

__all__ = ["FailedShard", "SimulatedContext", "failure_record", "lowest_failed"]


class FailedShard(Protocol):
    """Where a batch came from."""

    @property
    def stream_arn(self) -> str:
        """The stream's."""
        ...

    @property
    def id(self) -> str:
        """The shard's name."""
        ...


@dataclass(frozen=True, slots=True)
class SimulatedContext:
    """The part of Lambda's context that handlers use. `ends_at` is a time of `clock`: `clock() + 60` gives
    it a minute."""

    clock: SimulatedClock
    ends_at: float

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the invocation is ended."""
        return max(0, round((self.ends_at - self.clock()) * 1000))


def lowest_failed(answer: Any, sequences: Sequence[str]) -> int | None:
    """Where a batch of these sequence numbers is to be resumed by a handler's answer: a place in it; None: all is done.

    As AWS has it ("Configuring partial batch response with DynamoDB and Lambda"): empty and null answers are success,
    and of several failures the lowest counts.

    Raises:
        ValueError: a wrong name, an empty or unknown identifier: the whole batch has failed.
    """
    if not answer:
        return None
    if not isinstance(answer, Mapping) or "batchItemFailures" not in answer:
        raise ValueError("the answer has no batchItemFailures")
    failures = answer["batchItemFailures"] or []
    if not isinstance(failures, list) or not all(isinstance(failure, Mapping) for failure in failures):
        raise ValueError("batchItemFailures is no list of objects")
    return min((sequences.index(failure.get("itemIdentifier")) for failure in failures), default=None)


def failure_record(
    shard: FailedShard,
    batch: Sequence[ShardRecord],
    *,
    condition: str,
    attempts: int,
    request_id: str,
    now: float,
) -> dict[str, Any]:
    """An invocation record as an S3 destination gets it: with the whole event as `payload`.

    AWS shows the condition `RetryAttemptsExhausted`; its word for the age limit is not shown there.
    """
    kinesis = shard.stream_arn.split(":")[2] == "kinesis"
    return {
        "requestContext": {
            "requestId": request_id,
            "functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:cdc",
            "condition": condition,
            "approximateInvokeCount": attempts,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": _time(now),
        "KinesisBatchInfo" if kinesis else "DDBStreamBatchInfo": {
            "shardId": shard.id,
            "startSequenceNumber": batch[0].sequence,
            "endSequenceNumber": batch[-1].sequence,
            "approximateArrivalOfFirstRecord": _time(batch[0].written),
            "approximateArrivalOfLastRecord": _time(batch[-1].written),
            "batchSize": len(batch),
            "streamArn": shard.stream_arn,
        },
        "payload": orjson.dumps({"Records": [record.record for record in batch]}).decode(),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
