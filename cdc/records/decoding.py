"""Wire formats -> Change: Lambda events, the KCL adapter's records, records of Kinesis Data Streams for DynamoDB.

A record that can't be read becomes an `Unreadable` in its place, so that it stops only itself.
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from math import isfinite
from typing import Any

import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import RawItem, decode_item
from cdc.records.change import Change, Operation, ParsedImages, StreamView, Wire
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream
from cdc.records.versions import END_MICROS

__all__ = [
    "Record",
    "Unreadable",
    "change_from_adapter",
    "change_from_kinesis",
    "change_from_stream_record",
    "changes_from_lambda",
    "read_adapter",
    "read_kinesis",
    "read_lambda",
    "read_lambda_record",
    "size_bytes_of",
]

_TTL_PRINCIPAL = "dynamodb.amazonaws.com"
_OPERATIONS = {operation.value: operation for operation in Operation}
_VIEWS = {view.value: view for view in StreamView}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is no change. Its identity is the digest of its payload when it has no sequence number."""

    record: Any
    error: MalformedRecord
    sequence: SequenceNumber | None
    table: str
    stream: str = ""
    """The stream's ARN, where the record itself does not name it."""
    wire: Wire = Wire.LAMBDA

    @property
    def identity(self) -> str:
        """Names the dead letter; the same at every delivery."""
        payload = self.record if isinstance(self.record, bytes) else _digestible(self.record)
        position = str(self.sequence.value) if self.sequence else "unnumbered"
        return f"unreadable/{position}/{sha256(payload).hexdigest()[:32]}"


def _digestible(record: Any) -> bytes:
    try:
        return orjson.dumps(record, default=str)
    except TypeError:  # integers of more than 64 bits, lone surrogates: Lambda's parser lets them through
        return json.dumps(record, default=str).encode()


Record = Change | Unreadable


def size_bytes_of(record: Record) -> int:
    """The size of a change as DynamoDB counted it (`SizeBytes`); 0 where it does not say."""
    if isinstance(record, Change) and record.core is not None:
        return record.core.size_bytes
    facts = record.record.get("dynamodb") if isinstance(record.record, Mapping) else None
    size = facts.get("SizeBytes") if isinstance(facts, Mapping) else None
    return size if isinstance(size, int) else 0


def changes_from_lambda(event: Mapping[str, Any]) -> Iterator[Change]:
    """The changes of a Lambda event of DynamoDB Streams or of Kinesis Data Streams for DynamoDB, in their order.

    Raises:
        ConfigError: the event is of another source.
        MalformedRecord: a record can't be read.
    """
    for record in read_lambda(event):
        if isinstance(record, Unreadable):
            raise record.error
        yield record


def read_lambda(event: Mapping[str, Any]) -> Sequence[Record]:
    """The records of a Lambda event ("Process DynamoDB records with Lambda"), each a Change or Unreadable.

    Raises:
        ConfigError: the event is not of DynamoDB Streams or Kinesis: the function's trigger is a wrong one.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise ConfigError(
            "the event has no list of Records",
            remedy="Give this function an event source mapping of a DynamoDB stream.",
        )
    return [read_lambda_record(record, position) for position, record in enumerate(records)]


def read_lambda_record(record: Any, position: int) -> Record:
    """The record at a position of a Lambda event: a Change or Unreadable.

    Raises:
        ConfigError: it is not of DynamoDB Streams or Kinesis.
    """
    source = record.get("eventSource") if isinstance(record, dict) else None
    if source == "aws:dynamodb":
        try:
            stream = Stream.dynamodb(str(record.get("eventSourceARN")))
        except ConfigError as error:
            fault = MalformedRecord(error.message).under("Records", position, "eventSourceARN")
            return Unreadable(record, fault, _sequence_or_none(record), _table_or_empty(record))
        try:
            return change_from_stream_record(record, stream)
        except MalformedRecord as error:
            return Unreadable(record, error.under("Records", position), _sequence_or_none(record), stream.table)
    if source == "aws:kinesis":
        return _read_lambda_kinesis(record, position)
    raise ConfigError(
        f"Records.{position}.eventSource is {source!r}: not aws:dynamodb or aws:kinesis",
        remedy="Give this function an event source mapping of a DynamoDB stream.",
    )


def _read_lambda_kinesis(record: dict[str, Any], position: int) -> Record:
    sequence, data = None, b""
    try:
        envelope = record.get("kinesis")
        if not isinstance(envelope, Mapping):
            raise MalformedRecord("the record has no kinesis")  # noqa: TRY301  (one way out for every fault)
        sequence = SequenceNumber.parse(envelope.get("sequenceNumber"), KINESIS_DIGITS)
        data = b64decode(str(envelope.get("data")), validate=True)
        return change_from_kinesis(data, str(record.get("eventSourceARN")), sequence)
    except (MalformedRecord, Base64Error, ValueError) as error:
        fault = error if isinstance(error, MalformedRecord) else MalformedRecord("kinesis.data is no base64 text")
        return Unreadable(record, fault.under("Records", position), sequence, _table_or_empty(_json_or_bytes(data)))


def read_adapter(payload: bytes, stream: Stream) -> Record:
    """Read the KCL adapter's `record.data()`: a Change or Unreadable."""
    try:
        return change_from_adapter(payload, stream)
    except MalformedRecord as error:
        record = _json_or_bytes(payload)
        return Unreadable(record, error, _sequence_or_none(record), stream.table, stream.arn, Wire.ADAPTER)


def change_from_adapter(payload: bytes, stream: Stream) -> Change:
    """The change of an adapter record: creation in epoch milliseconds, absent images as empty objects.

    Raises:
        MalformedRecord: it is no record of DynamoDB Streams.
    """
    record = _parse(payload)
    return change_from_stream_record(record, stream, micros_per_unit=1000, wire=Wire.ADAPTER)


def read_kinesis(payload: bytes, arn: str, sequence: SequenceNumber) -> Record:
    """A record of Kinesis Data Streams for DynamoDB: a Change or Unreadable."""
    try:
        return change_from_kinesis(payload, arn, sequence)
    except MalformedRecord as error:
        record = _json_or_bytes(payload)
        return Unreadable(record, error, sequence, _table_or_empty(record), arn, Wire.KINESIS)


def change_from_kinesis(payload: bytes, arn: str, sequence: SequenceNumber) -> Change:
    """The change in a record of Kinesis Data Streams for DynamoDB.

    Its time is in milliseconds unless `ApproximateCreationDateTimePrecision` says MICROSECOND (Amazon DynamoDB
    Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB").

    Raises:
        MalformedRecord: it is no change of a table.
    """
    record = _parse(payload)
    table = record.get("tableName")
    if not isinstance(table, str) or not table:
        raise MalformedRecord("the record has no tableName: it was not written by DynamoDB")
    facts = _facts(record)
    precision = facts.get("ApproximateCreationDateTimePrecision", "MILLISECOND")
    try:
        micros_per_unit = {"MICROSECOND": 1, "MILLISECOND": 1000}[precision]
    except (KeyError, TypeError):
        raise MalformedRecord(f"dynamodb.ApproximateCreationDateTimePrecision is {precision!r:.40}") from None
    return _change(record, facts, Stream.kinesis(arn, table), sequence, micros_per_unit, Wire.KINESIS)


def change_from_stream_record(
    record: dict[str, Any], stream: Stream, *, micros_per_unit: int = 1_000_000, wire: Wire = Wire.LAMBDA
) -> Change:
    """The change of a record of DynamoDB Streams, as Lambda or GetRecords give it.

    `micros_per_unit`: of `ApproximateCreationDateTime` where it is a number; `wire`: the shape it was received in.

    Raises:
        MalformedRecord: it is no such record.
    """
    facts = _facts(record)
    try:
        sequence = SequenceNumber.parse(facts.get("SequenceNumber"))
    except MalformedRecord as error:
        raise error.under("dynamodb", "SequenceNumber") from None
    return _change(record, facts, stream, sequence, micros_per_unit, wire)


def _change(
    record: dict[str, Any],
    facts: dict[str, Any],
    stream: Stream,
    sequence: SequenceNumber,
    micros_per_unit: int,
    wire: Wire,
) -> Change:
    name = record.get("eventName")
    operation = _OPERATIONS.get(name) if isinstance(name, str) else None
    if operation is None:
        raise MalformedRecord("is not INSERT, MODIFY or REMOVE", path=("eventName",))
    keys = _image(facts, "Keys")
    if keys is None:
        raise MalformedRecord("the record has no keys", path=("dynamodb", "Keys"))
    try:
        decode_item(keys)  # identity, id and version of everything that follows hang on them
    except MalformedRecord as error:
        raise error.under("dynamodb", "Keys") from None
    before, after = _image(facts, "OldImage"), _image(facts, "NewImage")
    view = _view(facts, before, after)
    if after is None and operation is not Operation.REMOVE and view.has_new_image:
        raise MalformedRecord(f"the record has none, and its view is {view}", path=("dynamodb", "NewImage"))
    user = record.get("userIdentity")
    return Change(
        operation=operation,
        stream=stream,
        sequence=sequence,
        view=view,
        images=ParsedImages(
            keys,
            None if operation is Operation.INSERT else before,
            None if operation is Operation.REMOVE else after,
            record,
        ),
        created_micros=_micros(facts.get("ApproximateCreationDateTime"), micros_per_unit, stream),
        expired=operation is Operation.REMOVE and isinstance(user, dict) and _is_ttl(user),
        event_id=str(record.get("eventID", "")),
        is_coarse=stream.minute is None and micros_per_unit > 1,
        wire=wire,
    )


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    facts = record.get("dynamodb")
    if not isinstance(facts, dict):
        raise MalformedRecord("the record has no such object", path=("dynamodb",))
    return facts


def _image(facts: dict[str, Any], name: str) -> RawItem | None:
    image = facts.get(name)
    if isinstance(image, dict):
        return image or None  # the adapter writes an absent image as an empty object
    if image is None:
        return None
    raise MalformedRecord("is not an object", path=("dynamodb", name))


def _view(facts: dict[str, Any], before: object, after: object) -> StreamView:
    """The stream's view; records of Kinesis don't name it, they carry both images."""
    name = facts.get("StreamViewType")
    if name is None:
        return StreamView.NEW_AND_OLD_IMAGES if before or after else StreamView.KEYS_ONLY
    view = _VIEWS.get(name) if isinstance(name, str) else None
    if view is None:
        raise MalformedRecord(f"unknown view {name!r:.40}", path=("dynamodb", "StreamViewType"))
    return view


def _micros(created: object, micros_per_unit: int, stream: Stream) -> int | None:
    """The time of a change. It is optional ("DynamoDB Streams API Reference", StreamRecord), but what Kinesis carries
    is ordered by it."""
    if created is None and stream.minute is not None:
        return None
    micros = -1
    match created:
        case bool():
            pass
        case int():
            micros = created * micros_per_unit
        case float() if created.is_integer():
            micros = int(created) * micros_per_unit
        case float() | Decimal() if isfinite(created):
            micros = int(Decimal(str(created)) * micros_per_unit)
        case datetime():
            micros = int(Decimal(str(created.timestamp())) * 1_000_000)
    if not 0 <= micros < END_MICROS:
        raise MalformedRecord("is no time", path=("dynamodb", "ApproximateCreationDateTime"))
    return micros


def _is_ttl(user: dict[str, Any]) -> bool:
    kind, principal = user.get("type", user.get("Type")), user.get("principalId", user.get("PrincipalId"))
    return bool(kind == "Service" and principal == _TTL_PRINCIPAL)


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise MalformedRecord("the record is no JSON") from None
    if not isinstance(record, dict):
        raise MalformedRecord("the record is no JSON object")
    return record


def _json_or_bytes(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload


def _sequence_or_none(record: Any) -> SequenceNumber | None:
    try:
        return SequenceNumber.parse(record["dynamodb"]["SequenceNumber"])
    except (MalformedRecord, KeyError, TypeError):
        return None


def _table_or_empty(record: Any) -> str:
    name = record.get("tableName") if isinstance(record, Mapping) else None
    return name if isinstance(name, str) else ""
