"""Batches of records → changes: by the core where there is one, and record by record by the reference otherwise."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import RawItem
from cdc.records.change import Change, Images, Operation, StreamView, Wire
from cdc.records.decoding import Record, read_adapter, read_kinesis, read_lambda, read_lambda_record
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream

if TYPE_CHECKING:
    from cdc._core import Facts
    from cdc._core import Record as CoreRecord
    from cdc.core import Core

__all__ = ["RecordReader"]

_OPERATIONS = {operation.value: operation for operation in Operation}
_VIEWS = {view.value: view for view in StreamView}
_JSON_ALONE = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Reads batches. With the core and without it each record becomes the same change, or the same Unreadable."""

    core: Core | None = None

    def adapter(self, payloads: Sequence[bytes], stream: Stream) -> list[Record]:
        """Records of the KCL's adapter; see `read_adapter`."""
        if self.core is None:
            return [read_adapter(payload, stream) for payload in payloads]
        return [
            read_adapter(payload, stream) if facts is None else _change(facts, stream, Wire.ADAPTER)
            for payload, facts in zip(payloads, self.core.read(list(payloads), Wire.ADAPTER.value), strict=True)
        ]

    def kinesis(self, payloads: Sequence[bytes], arn: str, sequences: Sequence[SequenceNumber]) -> list[Record]:
        """Records of Kinesis Data Streams for DynamoDB; see `read_kinesis`."""
        if self.core is None:
            return [read_kinesis(payload, arn, one) for payload, one in zip(payloads, sequences, strict=True)]
        read = self.core.read(list(payloads), Wire.KINESIS.value)
        return [
            read_kinesis(payload, arn, sequence)
            if facts is None
            else _change(facts, Stream.kinesis(arn, facts[-1]), Wire.KINESIS, sequence=sequence)
            for payload, sequence, facts in zip(payloads, sequences, read, strict=True)
        ]

    def lambda_event(self, event: Mapping[str, Any]) -> Sequence[Record]:
        """The records of a Lambda event, as `json.loads` gives it; see `read_lambda`.

        Raises:
            ConfigError: the event is not of DynamoDB Streams or Kinesis: the function's trigger is a wrong one.
        """
        records = event.get("Records") if isinstance(event, Mapping) else None
        if self.core is None or not isinstance(records, list):
            return read_lambda(event)
        read = self._read_event(self.core, records)
        return [
            read_lambda_record(record, position) if change is None else change
            for position, (record, change) in enumerate(zip(records, read, strict=True))
        ]

    def left(self, records: Sequence[Record]) -> int:
        """How many of these records the core has left to the reference, wholly or in part; none where there is none."""
        return 0 if self.core is None else sum(map(_is_left, records))

    def _read_event(self, core: Core, records: list[Any]) -> Sequence[Change | None]:
        if all(map(_is_of_dynamodb, records)):
            facts = core.read([*map(_json_of, records)], Wire.LAMBDA.value)
            return [one and _of_dynamodb(one, record) for one, record in zip(facts, records, strict=True)]
        data = [_data_of_kinesis(record) for record in records]
        facts = core.read([one or b"" for one in data], Wire.KINESIS.value)
        return [one and _of_kinesis(one, record) for one, record in zip(facts, records, strict=True)]


class CoreImages:
    """Keys and images of a record that the core has read, parsed on first use."""

    __slots__ = ("_core", "_operation", "_record")

    def __init__(self, core: CoreRecord, operation: Operation, record: dict[str, Any] | None) -> None:
        self._core = core
        self._operation = operation
        self._record = record

    @property
    def record(self) -> dict[str, Any]:
        """See `Images.record`."""
        if self._record is None:
            self._record = orjson.loads(self._core.payload())
        return self._record

    @property
    def keys(self) -> RawItem:
        """See `Images.keys`."""
        return self.record["dynamodb"]["Keys"]  # type: ignore[no-any-return]  # the core has seen an object

    @property
    def before(self) -> RawItem | None:
        """See `Images.before`."""
        return None if self._operation is Operation.INSERT else self.record["dynamodb"].get("OldImage") or None

    @property
    def after(self) -> RawItem | None:
        """See `Images.after`."""
        return None if self._operation is Operation.REMOVE else self.record["dynamodb"].get("NewImage") or None


def _change(
    facts: Facts,
    stream: Stream,
    wire: Wire,
    *,
    sequence: SequenceNumber | None = None,
    record: dict[str, Any] | None = None,
) -> Change:
    core, operation_name, view, text, created_micros, expired, event_id, is_coarse, _ = facts
    operation = _OPERATIONS[operation_name]
    images: Images = CoreImages(core, operation, record)
    number = SequenceNumber(text, int(text)) if sequence is None else sequence
    change = Change(operation, stream, number, _VIEWS[view], images, created_micros, expired, event_id, is_coarse, wire)
    change.__dict__["core"] = core
    return change


def _is_left(record: Record) -> bool:
    return not isinstance(record, Change) or record.core is None or record.core.was_left


def _json_of(record: dict[str, Any]) -> bytes:
    """The record's bytes; none if it has no such form: lone surrogates, integers of more than 64 bits."""
    try:
        return orjson.dumps(record, option=_JSON_ALONE)
    except TypeError:
        return b""


def _is_of_dynamodb(record: Any) -> bool:
    return isinstance(record, dict) and record.get("eventSource") == "aws:dynamodb"


def _of_dynamodb(facts: Facts, record: dict[str, Any]) -> Change | None:
    try:
        stream = Stream.dynamodb(str(record.get("eventSourceARN")))
    except ConfigError:
        return None
    return _change(facts, stream, Wire.LAMBDA, record=record)


def _data_of_kinesis(record: Any) -> bytes | None:
    """The data of a record of a Kinesis event; None: the reference says what is wrong with it."""
    try:
        if record["eventSource"] != "aws:kinesis" or not isinstance(record["kinesis"]["data"], str):
            return None
        return b64decode(record["kinesis"]["data"], validate=True)
    except (KeyError, TypeError, ValueError):
        return None


def _of_kinesis(facts: Facts, record: dict[str, Any]) -> Change | None:
    try:
        sequence = SequenceNumber.parse(record["kinesis"].get("sequenceNumber"), KINESIS_DIGITS)
        stream = Stream.kinesis(str(record.get("eventSourceARN")), facts[-1])
    except (ConfigError, MalformedRecord):
        return None
    return _change(facts, stream, Wire.KINESIS, sequence=sequence)
