"""DynamoDB Streams of simulated streams: what reads them over HTTP meets shards that split, roll and are trimmed.

It follows the Amazon DynamoDB Streams API reference: the four operations, their limits and their errors. Iterators of
the kind AT_TIMESTAMP are refused. Whoever asks is answered, whatever the signature.
"""

from __future__ import annotations

import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.testing import ShardRecord, SimulatedClock, SimulatedShard, SimulatedStream
from cdc.testing.simulated.stream import RETENTION_SECONDS
from local.json_protocol import Asked, error, serving

__all__ = ["Answered", "Refusal", "ServedStream", "StreamsServer"]

ITERATOR_SECONDS = 15 * 60.0
"""How long an iterator can be used (DynamoDB Streams API reference, GetShardIterator)."""
PAGE_RECORDS, PAGE_BYTES = 1000, 1 << 20
"""The most that one answer holds (DynamoDB Streams API reference, GetRecords)."""
PAGE_NAMES = 100
"""The same of shards and streams (DynamoDB Streams API reference, DescribeStream and ListStreams)."""


class Refusal(Exception):
    """An error that is the answer; `kind` is its name at AWS."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class ServedStream:
    """A simulated stream, and the ARN by which its table's description names it: it may differ from the stream's own.

    `keys` are the table's key attributes, the partition key first.
    """

    arn: str
    stream: SimulatedStream
    keys: tuple[str, ...] = ("pk", "sk")
    view: StreamView = StreamView.NEW_AND_OLD_IMAGES

    @property
    def names(self) -> dict[str, str]:
        """The stream as ListStreams tells it."""
        stream = Stream.dynamodb(self.arn)
        return {"StreamArn": self.arn, "TableName": stream.table, "StreamLabel": stream.label}

    def shards(self, now: float) -> list[SimulatedShard]:
        """The shards that can be read, each after its parent: a closed one is gone after 24 hours."""
        horizon = now - RETENTION_SECONDS
        return [one for one in self.stream.shards if one.closed_at is None or one.closed_at > horizon]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request. `shard` is empty where none was named, `refused` where nothing was refused.

    `kind` is that of an iterator; `ended` says that these were the last records of a closed shard.
    """

    operation: str
    shard: str = ""
    kind: str = ""
    records: int = 0
    ended: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class _Iterator:
    """The place of a shard's next record, and when it was given."""

    arn: str
    shard: str
    place: int
    given: float

    def __str__(self) -> str:
        inner = orjson.dumps([self.shard, self.place, self.given])
        return f"{self.arn}|1|{urlsafe_b64encode(inner).decode()}"

    @classmethod
    def of(cls, text: str) -> _Iterator:
        try:
            arn, _, inner = text.split("|")
            return cls(arn, *orjson.loads(urlsafe_b64decode(inner)))
        except (ValueError, TypeError):
            raise Refusal("ValidationException", "Invalid ShardIterator") from None


class StreamsServer:
    """Answers of streams. Threads may ask at the same time; who changes a stream, or lets time pass, holds `lock`.

    `shards_per_page`: how many shards an answer of DescribeStream holds at most.
    """

    def __init__(self, clock: SimulatedClock, *, shards_per_page: int = PAGE_NAMES) -> None:
        self.lock = threading.RLock()
        self.answered: list[Answered] = []
        """Every answer, oldest first."""
        self.meanwhile: Callable[[str, Mapping[str, Any]], object] | None = None
        """Called before each answer, with operation and parameters: a `Refusal` that it raises is the answer."""
        self._clock = clock
        self._shards_per_page = shards_per_page
        self._streams: dict[str, ServedStream] = {}
        self._operations: Mapping[str, Callable[[Mapping[str, Any]], tuple[dict[str, Any], Answered]]] = {
            "ListStreams": self._list_streams,
            "DescribeStream": self._describe_stream,
            "GetShardIterator": self._get_shard_iterator,
            "GetRecords": self._get_records,
        }

    def serve(self, stream: ServedStream) -> None:
        """Answer of this stream, too."""
        with self.lock:
            self._streams[stream.arn] = stream

    @contextmanager
    def running(self) -> Iterator[str]:
        """The URL under which it answers, until the block ends."""
        with serving(self._answer) as url:
            yield url

    def _answer(self, asked: Asked) -> tuple[int, bytes]:
        parameters = asked.parameters
        with self.lock:
            try:
                if self.meanwhile is not None:
                    self.meanwhile(asked.operation, parameters)
                answer, facts = self._operations.get(asked.operation, _unknown)(parameters)
            except Refusal as refusal:
                shard = parameters.get("ShardId", "")
                self.answered.append(Answered(asked.operation, shard, refused=refusal.kind))
                return error(refusal.kind, refusal.message)
            self.answered.append(facts)
        return 200, orjson.dumps(answer)

    def _list_streams(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
        limit, start = _limit(asked, PAGE_NAMES), asked.get("ExclusiveStartStreamArn", "")
        names = [one.names for arn, one in sorted(self._streams.items()) if arn > start and not self._is_gone(one)]
        names = [one for one in names if asked.get("TableName") in (None, one["TableName"])]
        answer: dict[str, Any] = {"Streams": names[:limit]}
        if len(names) > limit:
            answer["LastEvaluatedStreamArn"] = names[limit - 1]["StreamArn"]
        return answer, Answered("ListStreams")

    def _describe_stream(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
        served, limit = self._found(asked["StreamArn"]), min(_limit(asked, PAGE_NAMES), self._shards_per_page)
        shards = [one for one in served.shards(self._clock()) if one.id > asked.get("ExclusiveStartShardId", "")]
        if parent := asked.get("ShardFilter", {}).get("ShardId"):  # CHILD_SHARDS is the only type
            shards = [one for one in shards if parent in [other.id for other in one.parents]]
        schema = zip(served.keys, ("HASH", "RANGE"), strict=False)
        description: dict[str, Any] = {
            **served.names,
            "StreamStatus": "ENABLED" if served.stream.closed_at is None else "DISABLED",
            "StreamViewType": served.view.value,
            "CreationRequestDateTime": _made(served.names["StreamLabel"]),
            "KeySchema": [{"AttributeName": name, "KeyType": kind} for name, kind in schema],
            "Shards": [_described(served.stream, one) for one in shards[:limit]],
        }
        if len(shards) > limit:
            description["LastEvaluatedShardId"] = shards[limit - 1].id
        return {"StreamDescription": description}, Answered("DescribeStream")

    def _get_shard_iterator(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
        served, kind = self._found(asked["StreamArn"]), asked["ShardIteratorType"]
        shard, number = self._shard(served, asked["ShardId"]), asked.get("SequenceNumber", "")
        if kind == "TRIM_HORIZON":
            place = shard.trimmed
        elif kind == "LATEST":
            place = len(shard.records)
        elif kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER") and number.isdecimal():
            at = shard.after(int(number) - 1)
            if at < shard.trimmed or int(number) < int(served.stream.bounds(shard)[0]):
                raise _trimmed()
            place = at if kind == "AT_SEQUENCE_NUMBER" else shard.after(int(number))
        else:
            raise Refusal("ValidationException", f"{kind} is not served, or lacks its SequenceNumber")
        iterator = _Iterator(served.arn, shard.id, place, self._clock())
        return {"ShardIterator": str(iterator)}, Answered("GetShardIterator", shard.id, kind)

    def _get_records(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
        iterator, limit, now = _Iterator.of(asked["ShardIterator"]), _limit(asked, PAGE_RECORDS), self._clock()
        if now - iterator.given > ITERATOR_SECONDS:
            raise Refusal("ExpiredIteratorException", "The iterator is older than 15 minutes.")
        shard = self._shard(self._found(iterator.arn), iterator.shard)
        if iterator.place < shard.trimmed:
            raise _trimmed()
        records = _page(shard.records[iterator.place : iterator.place + limit], iterator.arn.split(":")[3])
        end = iterator.place + len(records)
        ended = shard.closed and end == len(shard.records)
        answer: dict[str, Any] = {"Records": records}
        if not ended:
            answer["NextShardIterator"] = str(_Iterator(iterator.arn, shard.id, end, now))
        return answer, Answered("GetRecords", shard.id, records=len(records), ended=ended)

    def _is_gone(self, served: ServedStream) -> bool:
        """A disabled stream can be read for 24 hours."""
        closed = served.stream.closed_at
        return closed is not None and closed <= self._clock() - RETENTION_SECONDS

    def _found(self, arn: str) -> ServedStream:
        served = self._streams.get(arn)
        if served is None or self._is_gone(served):
            raise Refusal("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
        return served

    def _shard(self, served: ServedStream, shard_id: str) -> SimulatedShard:
        found = [one for one in served.shards(self._clock()) if one.id == shard_id]
        if not found:
            raise Refusal("ResourceNotFoundException", f"Requested resource not found: Shard: {shard_id} not found")
        return found[0]


def _unknown(_asked: Mapping[str, Any]) -> tuple[dict[str, Any], Answered]:
    raise Refusal("UnknownOperationException", "There is no such operation.")


def _trimmed() -> Refusal:
    return Refusal(
        "TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard."
    )


def _limit(asked: Mapping[str, Any], most: int) -> int:
    limit = int(asked.get("Limit", most))
    if not 1 <= limit <= most:
        raise Refusal("ValidationException", f"Value '{limit}' at 'limit' must be between 1 and {most}")
    return limit


def _made(label: str) -> float:
    return datetime.fromisoformat(label).replace(tzinfo=UTC).timestamp()


def _described(stream: SimulatedStream, shard: SimulatedShard) -> dict[str, Any]:
    first, last = stream.bounds(shard)
    bounds = {"StartingSequenceNumber": first} | ({"EndingSequenceNumber": last} if last is not None else {})
    parent = {"ParentShardId": shard.parents[0].id} if shard.parents else {}  # be it there still or not
    return {"ShardId": shard.id, "SequenceNumberRange": bounds, **parent}


def _page(held: list[ShardRecord], region: str) -> list[dict[str, Any]]:
    """The first records, as many as one answer may hold; one at least."""
    records: list[dict[str, Any]] = []
    size = 0
    for one in held:
        record = _as_answered(one.record, region)
        size += record["dynamodb"]["SizeBytes"]
        if records and size > PAGE_BYTES:
            break
        records.append(record)
    return records


def _as_answered(record: Mapping[str, Any], region: str) -> dict[str, Any]:
    """A record in Lambda's shape as GetRecords has it: whole seconds, other names of the user's identity, no ARN."""
    facts, user = record["dynamodb"], record.get("userIdentity")
    images = [facts[name] for name in ("Keys", "OldImage", "NewImage") if name in facts]
    return {
        **{name: value for name, value in record.items() if name not in ("eventSourceARN", "userIdentity")},
        **({"userIdentity": {"PrincipalId": user["principalId"], "Type": user["type"]}} if user else {}),
        "awsRegion": region,
        "dynamodb": {
            **facts,
            "ApproximateCreationDateTime": int(facts["ApproximateCreationDateTime"]),
            "SizeBytes": len(orjson.dumps(images)),
        },
    }
