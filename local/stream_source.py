"""A stream of DynamoDB or Kinesis, read by polling: its shards and records as Lambda would deliver them."""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import orjson
from botocore.exceptions import ClientError, ParamValidationError

from cdc.errors import ConfigError
from cdc.testing.simulated.stream import ShardRecord

__all__ = ["LocalShard", "Position", "StreamSource"]

log = logging.getLogger(__name__)

Position = Literal["TRIM_HORIZON", "LATEST"]

_PAGE_RECORDS = 1000
_DESCRIBE_SECONDS = 10.0
_NO_STREAM = ("ResourceNotFoundException", "ValidationException", "InvalidArgumentException")
_LANE = "0" * 32
"""Every record of a shard in one lane: the emulator is one environment, which runs one invocation at a time."""


class LocalShard:
    """The records of a shard that were read by now."""

    def __init__(self, stream_arn: str, shard_id: str, parents: tuple[LocalShard, ...]) -> None:
        self.stream_arn = stream_arn
        self.id = shard_id
        self.parents = parents
        self.records: list[ShardRecord] = []
        self.closed = False
        self.at_end = False
        self.iterator: str | None = None


class StreamSource:
    """The shards of one stream, from `position` on; `poll` reads what is new.

    `client`: boto3's of `dynamodbstreams` or `kinesis`, as the ARN says.
    """

    def __init__(self, client: Any, stream_arn: str, *, position: Position = "TRIM_HORIZON") -> None:
        self.stream_arn = stream_arn
        self.shards: list[LocalShard] = []
        self._client = client
        self._is_kinesis = ":kinesis:" in stream_arn
        self._arn = {"StreamARN" if self._is_kinesis else "StreamArn": stream_arn}
        self._position: Position = position
        self._described = -_DESCRIBE_SECONDS

    @property
    def at_end(self) -> bool:
        """Was there nothing more in any shard when it was last asked?"""
        return bool(self.shards) and all(shard.closed or shard.at_end for shard in self.shards)

    @property
    def count(self) -> int:
        """How many records were read."""
        return sum(len(shard.records) for shard in self.shards)

    def poll(self) -> None:
        """Read a page of each shard, and look for new shards where one has ended or a while has passed.

        Raises:
            ConfigError: there is no such stream.
        """
        if time.monotonic() - self._described >= _DESCRIBE_SECONDS:
            self._describe()
        open_shards = [shard for shard in self.shards if not shard.closed]
        for shard in open_shards:
            self._read(shard)
        if any(shard.closed for shard in open_shards):
            self._describe()

    def _describe(self) -> None:
        known = {shard.id: shard for shard in self.shards}
        position, self._position = self._position, "TRIM_HORIZON"  # shards that come later are read from their start
        try:
            described = {shard["ShardId"]: shard for shard in self._listed()}
        except (ClientError, ParamValidationError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] not in _NO_STREAM:
                raise
            raise ConfigError(
                f"there is no stream {self.stream_arn}",
                remedy="`aws dynamodbstreams list-streams` lists them; AWS_ENDPOINT_URL says where.",
            ) from error
        for shard_id in _parents_first(described):
            if shard_id not in known:
                parents = tuple(known[name] for name in _parents(described[shard_id]) if name in known)
                shard = known[shard_id] = LocalShard(self.stream_arn, shard_id, parents)
                ended = "EndingSequenceNumber" in described[shard_id]["SequenceNumberRange"]
                shard.closed = position == "LATEST" and ended
                if not shard.closed:
                    shard.iterator = self._iterator(shard, position)
                self.shards.append(shard)
        self._described = time.monotonic()

    def _listed(self) -> Iterator[Mapping[str, Any]]:
        if self._is_kinesis:
            for page in self._client.get_paginator("list_shards").paginate(**self._arn):
                yield from page["Shards"]
            return
        start: dict[str, str] = {}
        while True:
            stream = self._client.describe_stream(**self._arn, **start)["StreamDescription"]
            yield from stream["Shards"]
            if "LastEvaluatedShardId" not in stream:
                return
            start = {"ExclusiveStartShardId": stream["LastEvaluatedShardId"]}

    def _iterator(self, shard: LocalShard, position: Position) -> str:
        begin: dict[str, str] = {"ShardIteratorType": position}
        if shard.records:
            name = "StartingSequenceNumber" if self._is_kinesis else "SequenceNumber"
            begin = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", name: shard.records[-1].sequence}
        iterator: str = self._client.get_shard_iterator(**self._arn, ShardId=shard.id, **begin)["ShardIterator"]
        return iterator

    def _read(self, shard: LocalShard) -> None:
        try:
            page = self._client.get_records(ShardIterator=shard.iterator, Limit=_PAGE_RECORDS)
        except ClientError as error:
            log.warning("%s: %s: read on where it stopped", shard.id, error.response["Error"]["Code"])
            shard.iterator = self._iterator(shard, "TRIM_HORIZON")
            return
        make = _kinesis_record if self._is_kinesis else _dynamodb_record
        shard.records += [make(record, shard) for record in page["Records"]]
        shard.iterator = page.get("NextShardIterator")
        shard.closed = shard.iterator is None
        shard.at_end = not page["Records"]


def _parents(described: Mapping[str, Any]) -> list[str]:
    return [described[name] for name in ("ParentShardId", "AdjacentParentShardId") if described.get(name)]


def _parents_first(described: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in described and name not in seen:
            seen.add(name)
            for parent in _parents(described[name]):
                yield from visit(parent)
            yield name

    for name in described:
        yield from visit(name)


def _dynamodb_record(record: Mapping[str, Any], shard: LocalShard) -> ShardRecord:
    facts = record["dynamodb"]
    return ShardRecord(
        facts["SequenceNumber"],
        _LANE,
        facts["ApproximateCreationDateTime"].timestamp(),
        _plain({**record, "eventSourceARN": shard.stream_arn}),
    )


def _kinesis_record(record: Mapping[str, Any], shard: LocalShard) -> ShardRecord:
    sequence, arrived = record["SequenceNumber"], record["ApproximateArrivalTimestamp"]
    delivered = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": sequence,
            "data": record["Data"],
            "approximateArrivalTimestamp": arrived,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard.id}:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/local",
        "awsRegion": shard.stream_arn.split(":")[3],
        "eventSourceARN": shard.stream_arn,
    }
    return ShardRecord(sequence, _LANE, arrived.timestamp(), _plain(delivered))


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of Lambda's events: binary as base64, times in epoch seconds."""

    def encoded(value: object) -> Any:
        return b64encode(value).decode() if isinstance(value, bytes) else _seconds(value)

    plain: dict[str, Any] = orjson.loads(orjson.dumps(record, default=encoded, option=orjson.OPT_PASSTHROUGH_DATETIME))
    return plain


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} is nothing that a stream delivers")
