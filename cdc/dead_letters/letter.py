"""The dead letter: a rejected record, kept whole, with the reason; and the way back from it to the record."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.known_types import know
from cdc.outcome import Rejected
from cdc.records.change import Change, Wire
from cdc.records.decoding import Record, Unreadable, change_from_stream_record, read_adapter, read_kinesis, read_lambda
from cdc.records.encoding import lambda_json
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream

__all__ = [
    "STREAM_SINK",
    "UNREADABLE_SINK",
    "DeadLetter",
    "change_of_letter",
    "letter_of",
    "letter_of_lost_records",
    "name_of_index",
    "record_of_letter",
]

UNREADABLE_SINK = "source"
"""The sink of letters of records that were no changes: they reached none."""


STREAM_SINK = "stream"
"""The sink of letters of records that are gone from their stream: there is nothing to write any more."""


_GENERATION = re.compile(r"-v[0-9]+$")


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rejected record. `record` is the payload as it was received; `detail` may quote its values.

    `document` is the index and id it was meant for; empty if it reached no document: then it is about all that the
    mapping makes of it. `wire` is the payload's shape, `encoding` is `base64` where the payload is no JSON.
    """

    identity: str
    table: str
    sink: str
    document: str
    mapping: str
    reason: str
    detail: str
    kept_at: str
    stream: str
    operation: str
    expired: bool
    version: int
    attempts: int
    record: Any
    sequence: str = ""
    wire: str = Wire.LAMBDA.value
    encoding: str = "json"

    @property
    def name(self) -> str:
        """By identity, sink and document: a second rejection of the same overwrites the first."""
        where = sha256(f"{self.sink}\n{self.document}".encode()).hexdigest()[:12]
        identity = self.identity.replace("/", "_").replace(":", "")
        return f"table={self.table.replace('/', '_') or 'unknown'}/{identity}-{self.sink}-{where}.json"

    @property
    def index(self) -> str:
        """The index of `document`, or empty."""
        return self.document.partition("/")[0]

    @property
    def payload(self) -> bytes:
        """The record's bytes; of a JSON record bytes that mean the same."""
        return b64decode(self.record) if self.encoding == "base64" else json.dumps(self.record).encode()

    def to_json(self) -> bytes:
        """The letter as JSON, indented. Binary is base64 and times are epoch seconds, as in Lambda's events."""
        fields = {
            name: value
            for name, value in msgspec.structs.asdict(self).items()
            if name not in _DEFAULTS or value != _DEFAULTS[name]
        }
        try:
            return orjson.dumps(
                fields, default=lambda_json, option=orjson.OPT_INDENT_2 | orjson.OPT_PASSTHROUGH_DATETIME
            )
        except TypeError:  # integers of more than 64 bits, lone surrogates: Lambda's parser lets them through
            return json.dumps(fields, default=lambda_json, indent=2).encode()

    @classmethod
    def from_json(cls, body: bytes) -> DeadLetter:
        """Read `to_json` back.

        Raises:
            MalformedRecord: it is no dead letter.
        """
        try:  # not orjson: it would round integers of more than 64 bits
            return msgspec.convert(json.loads(body), cls)
        except (ValueError, msgspec.ValidationError) as error:
            raise MalformedRecord(f"this is no dead letter: {error}") from error


know(DeadLetter)

_DEFAULTS = {
    field.name: field.default for field in msgspec.structs.fields(DeadLetter) if field.default is not msgspec.NODEFAULT
}


def letter_of(record: Record, rejected: Rejected, sink: str, now: datetime, attempts: int = 1) -> DeadLetter:
    """The letter of a record that `sink` rejected."""
    change = record if isinstance(record, Change) else None
    is_bytes = isinstance(record.record, bytes)
    return DeadLetter(
        identity=str(record.identity),
        table=record.table,
        sink=sink,
        document=rejected.document,
        mapping=rejected.mapping,
        reason=rejected.cause.text,
        detail=rejected.detail,
        kept_at=now.isoformat(),
        stream=record.stream.arn if isinstance(record, Change) else record.stream,
        operation=str(change.operation) if change else "",
        expired=change.expired if change else False,
        version=change.version if change else 0,
        attempts=attempts,
        record=b64encode(record.record).decode() if isinstance(record.record, bytes) else record.record,
        sequence=record.sequence.text if record.sequence else "",
        wire=record.wire.value,
        encoding="base64" if is_bytes else "json",
    )


def letter_of_lost_records(
    *,
    identity: str,
    stream: str,
    table: str,
    reason: str,
    detail: str,
    about: Mapping[str, Any],
    now: datetime,
    sequence: str = "",
    attempts: int = 1,
) -> DeadLetter:
    """The letter of records that nobody has read and nobody can read any more. `about` says which they were."""
    return DeadLetter(
        identity=identity,
        table=table,
        sink=STREAM_SINK,
        document="",
        mapping="",
        reason=reason,
        detail=detail,
        kept_at=now.isoformat(),
        stream=stream,
        operation="",
        expired=False,
        version=0,
        attempts=attempts,
        record=dict(about),
        sequence=sequence,
    )


def name_of_index(concrete: str) -> str:
    """The name in the mapping of an index that this library has made: without the `-v<n>` behind it."""
    return _GENERATION.sub("", concrete)


def record_of_letter(letter: DeadLetter) -> Record:
    """The letter's record, read anew by the present code."""
    try:
        if letter.wire == Wire.ADAPTER:
            return read_adapter(letter.payload, Stream.dynamodb(letter.stream))
        if letter.wire == Wire.KINESIS:
            sequence = SequenceNumber.parse(letter.sequence, KINESIS_DIGITS)
            return read_kinesis(letter.payload, letter.stream, sequence)
        if letter.stream:
            return change_from_stream_record(letter.record, Stream.dynamodb(letter.stream))
        return read_lambda({"Records": [letter.record]})[0]
    except MalformedRecord as error:
        return Unreadable(letter.record, error, None, letter.table, letter.stream)
    except (ConfigError, AttributeError, TypeError, ValueError) as error:
        return Unreadable(letter.record, MalformedRecord(str(error)), None, letter.table, letter.stream)


def change_of_letter(letter: DeadLetter) -> Change:
    """The letter's change, marked as redriven.

    Raises:
        MalformedRecord: its record can't be read as a change.
    """
    record = record_of_letter(letter)
    if isinstance(record, Unreadable):
        raise record.error
    return msgspec.structs.replace(record, redriven=True)
