"""OnFailure: what Lambda leaves when it gives up on a batch, and the records that it is about.

Two shapes (AWS Lambda Developer Guide, "Retain discarded batches for a DynamoDB event source", and the same for
Kinesis): to S3 with the whole invocation in `payload`, to SQS and SNS only where the records were in their stream.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cdc.dead_letters.letter import DeadLetter, letter_of_lost_records
from cdc.dead_letters.redrive import Redriven, Redriver, StillDead
from cdc.deadline import Deadline
from cdc.errors import CdcError, MalformedRecord, SinkUnavailable
from cdc.outcome import Deferred, Rejected, settled
from cdc.records.decoding import Record, read_lambda
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import without_consumer

__all__ = [
    "RECORDS_GONE",
    "FailedBatch",
    "ReadBack",
    "StreamReader",
    "is_on_failure",
    "read_on_failure",
    "redrive_batch",
]

log = logging.getLogger(__name__)

RECORDS_GONE = "records_gone"

_INFO = ("DDBStreamBatchInfo", "KinesisBatchInfo")


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch that Lambda gave up on. `payload` is the event, where the record holds it."""

    stream: str
    shard: str
    first: SequenceNumber
    last: SequenceNumber
    size: int
    attempts: int
    about: Mapping[str, Any]
    payload: Mapping[str, Any] | None

    @property
    def is_kinesis(self) -> bool:
        """Was it of a Kinesis data stream?"""
        return ":kinesis:" in self.stream

    @property
    def table(self) -> str:
        """The table's name; empty for Kinesis, whose streams may carry several."""
        return "" if self.is_kinesis else self.stream.partition(":table/")[2].partition("/")[0]


def is_on_failure(document: Any) -> bool:
    """Is it such a record?"""
    return isinstance(document, Mapping) and "requestContext" in document and any(name in document for name in _INFO)


def read_on_failure(document: Any) -> FailedBatch:
    """The batch of such a record.

    Raises:
        MalformedRecord: it is none.
    """
    if not is_on_failure(document):
        raise MalformedRecord("this is no OnFailure record of a stream: it has no requestContext with a batch's info")
    about = document[next(name for name in _INFO if name in document)]
    try:
        payload = document.get("payload")
        return FailedBatch(
            stream=without_consumer(about["streamArn"]),
            shard=about["shardId"],
            first=SequenceNumber.parse(about["startSequenceNumber"], KINESIS_DIGITS),
            last=SequenceNumber.parse(about["endSequenceNumber"], KINESIS_DIGITS),
            size=int(about.get("batchSize", 0)),
            attempts=int(document["requestContext"].get("approximateInvokeCount", 1)),
            about=about,
            payload=json.loads(payload) if isinstance(payload, str) else payload,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedRecord(f"the OnFailure record can't be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class ReadBack:
    """Records read from their stream once more; `complete` is false if some of the batch are not there any more."""

    records: Sequence[Record]
    complete: bool


class StreamReader(Protocol):
    """Reads a batch's records from its stream."""

    def __call__(self, batch: FailedBatch, deadline: Deadline) -> ReadBack:
        """The records of the batch's range that are still there.

        Raises:
            SinkUnavailable: it can't be said now.
        """
        ...


def redrive_batch(
    batch: FailedBatch,
    redriver: Redriver,
    read_back: StreamReader,
    deadline: Deadline,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Redriven | StillDead:
    """1. Take the records, from the payload or read back from the stream. 2. Archive them as they are. 3. Write each to
    its sinks as a redrive does. 4. Of records that are gone keep a letter that names the range.

    StillDead: not all of that could be done; the failure record has to stay.
    """
    try:
        found = ReadBack(read_lambda(batch.payload), True) if batch.payload is not None else read_back(batch, deadline)
        outcomes = redriver.write_all(found.records, deadline)
    except CdcError as error:
        return StillDead(str(error))
    unsettled = [outcome for outcome in outcomes if not settled(outcome)]
    if not found.complete:
        try:
            redriver.dead_letters.keep(_gone(batch, len(found.records), now()))
        except SinkUnavailable as error:
            return StillDead(f"records are gone from the stream, and the letter about that can't be stored: {error}")
        log.error(
            "%d of %d records of a failed batch are gone from %s (shard %s, %s to %s): their changes are lost to this "
            "consumer. A dead letter names the range; fill the index from the table",
            max(batch.size - len(found.records), 1),
            batch.size,
            batch.stream,
            batch.shard,
            batch.first,
            batch.last,
        )
    if unsettled:
        cause = next(one.cause for one in unsettled if isinstance(one, Deferred | Rejected))
        return StillDead(f"{len(unsettled)} of {len(outcomes)} changes are not settled: {cause}: try again later")
    return Redriven()


def _gone(batch: FailedBatch, found: int, now: datetime) -> DeadLetter:
    label = batch.stream.rpartition("/")[2]
    return letter_of_lost_records(
        identity=f"{label}/{batch.shard}/{batch.first}-{batch.last}",
        stream=batch.stream,
        table=batch.table,
        reason=RECORDS_GONE,
        detail=f"{found} of {batch.size} records were still in the stream",
        about=batch.about,
        now=now,
        sequence=batch.first.text,
        attempts=batch.attempts,
    )
