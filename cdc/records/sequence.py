"""Sequence numbers: order, document versions, record identity.

A sequence number is unique within a shard only, and the counter it begins with starts at 1 with every new stream of a
table (seen on real streams; AWS's "DynamoDB Streams API Reference" promises a string of 21 to 40 characters). So a
document's version puts the time of the stream's creation first and the number second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec
import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import canonical_number

__all__ = [
    "DYNAMODB_DIGITS",
    "KINESIS_DIGITS",
    "RecordIdentity",
    "SequenceNumber",
    "Stream",
    "images_digest",
    "keys_digest",
    "minute_at",
    "version_at",
    "version_before_stream",
    "version_in_stream",
]

DYNAMODB_DIGITS = 40
KINESIS_DIGITS = 56

_EPOCH_MINUTE = 26_297_280  # 2020-01-01T00:00Z in minutes since 1970
_MINUTE_BITS = 24
_RANK_BITS = 39
_HALF_RANK = 1 << (_RANK_BITS - 1)
_COUNTER = 10**20  # below the counter stand 20 digits of a log position

_STREAM_ARN = re.compile(r"(arn:[^:]+:dynamodb:[^:]+:[^:]*:table/([^/]+))/stream/(.+)")
_KINESIS_ARN = re.compile(r"arn:([^:]+):kinesis:([^:]+:[^:]*):stream/(.+)")


class SequenceNumber(msgspec.Struct, frozen=True, eq=False):
    """A sequence number: text as AWS gave it, compared as the integer it is."""

    text: str
    value: int

    @classmethod
    def parse(cls, text: object, max_digits: int = DYNAMODB_DIGITS) -> SequenceNumber:
        """Read a string of 1 to `max_digits` digits.

        Raises:
            MalformedRecord: it is anything else.
        """
        if isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) <= max_digits:
            return cls(text, int(text))
        raise MalformedRecord(f"a sequence number has 1 to {max_digits} digits; this is {text!r:.80}")

    def __lt__(self, other: SequenceNumber) -> bool:
        return self.value < other.value

    def __le__(self, other: SequenceNumber) -> bool:
        return self.value <= other.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceNumber) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Stream:
    """Where changes come from. `label` tells the streams of one table apart: for DynamoDB the time of creation."""

    arn: str
    table: str
    table_arn: str
    label: str
    minute: int | None
    """Minutes since 2020-01-01T00:00Z of the stream's creation; None for Kinesis, whose changes rank by their own."""

    @classmethod
    def dynamodb(cls, arn: str) -> Stream:
        """The stream of `arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<label>`.

        Raises:
            ConfigError: the ARN is not that of a DynamoDB stream.
        """
        return _dynamodb_stream(arn)

    @classmethod
    def kinesis(cls, arn: str, table: str) -> Stream:
        """A Kinesis data stream that carries the changes of `table`, which is of its account and region (Amazon
        DynamoDB Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB")."""
        found = _KINESIS_ARN.fullmatch(arn)
        if found is None:
            raise ConfigError(
                f"{arn!r} is not the ARN of a Kinesis data stream",
                remedy="It looks like arn:aws:kinesis:<region>:<account>:stream/<name>.",
            )
        table_arn = f"arn:{found[1]}:dynamodb:{found[2]}:table/{table}"
        return cls(arn=arn, table=table, table_arn=table_arn, label=found[3], minute=None)


@lru_cache(maxsize=256)
def _dynamodb_stream(arn: str) -> Stream:
    found = _STREAM_ARN.fullmatch(arn)
    if found is None:
        raise ConfigError(
            f"{arn!r} is not the ARN of a DynamoDB stream",
            remedy="It looks like arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<time>; "
            "`aws dynamodb describe-table` prints it as LatestStreamArn.",
        )
    try:
        created = datetime.fromisoformat(found[3])
    except ValueError as error:
        raise ConfigError(f"{arn!r} does not end in the stream's time of creation") from error
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    minute = minute_at(created.timestamp())
    return Stream(arn=arn, table=found[2], table_arn=found[1], label=found[3], minute=minute)


def _version(minute: int, rank: int) -> int:
    if minute >= 1 << _MINUTE_BITS:
        raise MalformedRecord("the time of creation is after 2051: it does not fit a document's version")
    return max(0, minute) << _RANK_BITS | rank  # a stream may be older than 2020; of a table only one lives on


def version_in_stream(stream_minute: int, sequence: int) -> int:
    """The document version of a DynamoDB Streams record: below 2^63, never decreasing as `sequence` grows, and above
    every version of a stream made in an earlier minute."""
    if sequence < _COUNTER:
        return _version(stream_minute, min(sequence, _HALF_RANK - 1))
    return _version(stream_minute, _HALF_RANK + min(sequence // _COUNTER, _HALF_RANK - 1))


def minute_at(seconds: float) -> int:
    """The minute since 2020-01-01T00:00Z of a time in seconds since 1970."""
    return int(seconds // 60) - _EPOCH_MINUTE


def version_at(created_micros: int) -> int:
    """The document version of a change that has no sequence number of the table: by its microsecond since 1970."""
    minute, micros = divmod(created_micros, 60_000_000)
    return _version(minute - _EPOCH_MINUTE, micros)


def version_before_stream(stream_minute: int) -> int:
    """The document version of an item read while a stream is on: above all before the stream, below all in it."""
    return _version(stream_minute, 0)


@dataclass(frozen=True, slots=True, order=True)
class RecordIdentity:
    """Makes two deliveries the same change: origin, position in it, digest of the keys.

    DynamoDB Streams: stream label and sequence number. Kinesis, whose duplicates have sequence numbers of their own:
    table and microsecond of creation. `str()` gives the text by which readers drop copies.
    """

    origin: str
    position: str
    digest: str

    def __str__(self) -> str:
        return f"{self.origin}/{self.position}/{self.digest}"


def keys_digest(keys: Mapping[str, Any]) -> str:
    """32 hex digits that stand for an item's keys, given as DynamoDB JSON (or bytes for B, as boto3 has them)."""
    parts: list[tuple[str, str, str]] = []
    for name in sorted(keys):
        ((tag, value),) = keys[name].items()
        match value:
            case bytes():
                value = _base64(value)
            case str() if tag == "N":
                value = canonical_number(value)
        parts.append((name, tag, value))
    return sha256(orjson.dumps(parts)).hexdigest()[:32]


def images_digest(*images: Mapping[str, Any] | None) -> str:
    """8 hex digits that stand for a record's images, in the order that they were written in."""
    return sha256(orjson.dumps(images, default=_base64)).hexdigest()[:8]


def _base64(value: bytes) -> str:
    from base64 import b64encode

    return b64encode(value).decode()
