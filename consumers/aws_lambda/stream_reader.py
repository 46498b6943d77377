"""Reading back: the records of a failed batch, from their stream while it still has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from cdc.aws_errors import code_of, translated
from cdc.dead_letters.letter import STREAM_SINK
from cdc.deadline import Deadline
from cdc.errors import ConfigError, SinkUnavailable
from cdc.records.decoding import Record, read_kinesis, read_lambda
from cdc.records.encoding import lambda_json
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from consumers.aws_lambda.on_failure import FailedBatch, ReadBack

__all__ = ["StreamRangeReader"]

_EMPTY_PAGES = 100
"""So many pages without a record in a row are the end of what an open shard holds: it has gaps, but not such ones."""


@dataclass(frozen=True)
class StreamRangeReader:
    """Reads batches back from DynamoDB Streams and Kinesis: a `StreamReader`.

    `client`: makes boto3's client of a service (`dynamodbstreams` or `kinesis`) for a region.
    """

    client: Callable[[str, str], Any]

    def __call__(self, batch: FailedBatch, deadline: Deadline) -> ReadBack:
        """See `StreamReader`."""
        shard = _Shard(batch, self.client("kinesis" if batch.is_kinesis else "dynamodbstreams", _region(batch.stream)))
        found = {_number(record): record for record in shard.range(deadline)}
        complete = batch.first in found and batch.last in found and len(found) >= batch.size
        return ReadBack([_record(record, batch) for record in found.values()], complete)


def _region(arn: str) -> str:
    parts = arn.split(":")
    if len(parts) < 6:
        raise ConfigError(f"{arn!r} is no ARN of a stream", remedy="The OnFailure record names it as streamArn.")
    return parts[3]


def _number(record: Mapping[str, Any]) -> SequenceNumber:
    text = record["SequenceNumber"] if "SequenceNumber" in record else record["dynamodb"]["SequenceNumber"]
    return SequenceNumber.parse(text, KINESIS_DIGITS)


def _record(record: Mapping[str, Any], batch: FailedBatch) -> Record:
    if batch.is_kinesis:
        return read_kinesis(record["Data"], batch.stream, _number(record))
    # as Lambda would have delivered it
    named = {**record, "eventSource": "aws:dynamodb", "eventSourceARN": batch.stream}
    return read_lambda(
        {"Records": [orjson.loads(orjson.dumps(named, default=lambda_json, option=orjson.OPT_PASSTHROUGH_DATETIME))]}
    )[0]


class _Trimmed(Exception):
    """The stream has forgotten where the reading should begin."""


@dataclass(frozen=True)
class _Shard:
    batch: FailedBatch
    client: Any

    def range(self, deadline: Deadline) -> Iterator[Mapping[str, Any]]:
        """Read the records of the batch's range that the stream still has."""
        try:
            try:
                yield from self._from("AT_SEQUENCE_NUMBER", deadline)
            except _Trimmed:
                yield from self._from("TRIM_HORIZON", deadline)
        except _Trimmed:
            return

    def _from(self, kind: str, deadline: Deadline) -> Iterator[Mapping[str, Any]]:
        iterator, empty = self._iterator(kind), 0
        while iterator:
            if deadline.expired:
                raise SinkUnavailable(STREAM_SINK, "the deadline has passed before the records were read back")
            page = self._asked(self.client.get_records, ShardIterator=iterator, Limit=1000)
            for record in page["Records"]:
                number = _number(record)
                if number > self.batch.last:
                    return
                if number >= self.batch.first:
                    yield record
                if number == self.batch.last:
                    return
            empty = 0 if page["Records"] else empty + 1
            if page.get("MillisBehindLatest") == 0:
                return
            if empty > _EMPTY_PAGES:
                if kind == "TRIM_HORIZON":
                    return
                raise SinkUnavailable(STREAM_SINK, f"{self.batch.stream} does not show the records: try again later")
            iterator = page.get("NextShardIterator")

    def _iterator(self, kind: str) -> Any:
        begin = {} if kind == "TRIM_HORIZON" else {self._begin: self.batch.first.text}
        answer = self._asked(
            self.client.get_shard_iterator,
            ShardId=self.batch.shard,
            ShardIteratorType=kind,
            **{self._arn: self.batch.stream},
            **begin,
        )
        return answer.get("ShardIterator")

    @property
    def _begin(self) -> str:
        return "StartingSequenceNumber" if self.batch.is_kinesis else "SequenceNumber"

    @property
    def _arn(self) -> str:
        return "StreamARN" if self.batch.is_kinesis else "StreamArn"

    def _asked(self, request: Callable[..., Any], **arguments: Any) -> Any:
        """
        Raises:
            _Trimmed: the stream, the shard or the position is gone.
            SinkUnavailable: anything else: it may be there.
        """
        remedy = "Allow GetShardIterator and GetRecords on the stream (dynamodb: or kinesis:), and try again."
        try:
            with translated(STREAM_SINK, f"{self.batch.stream} can't be read back", remedy, quotes=False):
                return request(**arguments)
        except SinkUnavailable as error:
            if code_of(error.__cause__) in ("TrimmedDataAccessException", "ResourceNotFoundException"):
                raise _Trimmed from error
            raise
