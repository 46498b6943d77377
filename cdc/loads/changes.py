"""Changes of a load: items as they were read, ranked below every change that the read may not show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdc.errors import ConfigError
from cdc.records.attributes import RawItem
from cdc.records.change import Change, Operation, ParsedImages, StreamView, Wire
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.records.versions import minute_at, version_at, version_before_stream

__all__ = ["CLOCK_MARGIN_MICROS", "change_of_item", "keys_of", "loaded_version", "must_be_consistent"]

CLOCK_MARGIN_MICROS = 5_000_000
"""The clock here may be so far ahead of DynamoDB's: a read is ranked this long before it began."""

_YOUNG_STREAM_MINUTES = 5
"""So long after its stream was switched on a table is read consistently: other reads lag, as a rule by a second."""
_BEFORE_ALL = SequenceNumber("0", 0)


def loaded_version(stream: Stream, began_micros: int) -> int:
    """The version of what was read by a request that began at `began_micros`, while `stream` was on.

    Of a DynamoDB stream: below its every record. Of Kinesis, whose changes rank by their time: the moment the read
    began, less a margin for clocks.
    """
    if stream.minute is None:
        return version_at(began_micros - CLOCK_MARGIN_MICROS)
    return version_before_stream(stream.minute)


def must_be_consistent(stream: Stream, now: float) -> bool:
    """Must a table be read consistently? An older state must not be read where no record outranks it: of a change that
    was made just before the stream was on there is none, and those of Kinesis rank by their time."""
    return stream.minute is None or minute_at(now) - stream.minute < _YOUNG_STREAM_MINUTES


def change_of_item(
    item: RawItem | None, keys: RawItem, stream: Stream, *, version: int, micros: int | None = None
) -> Change:
    """The item as an INSERT at `version`; a REMOVE of the keys where there is none.

    Args:
        micros: when it was read, for Kinesis; microseconds since 1970.
    """
    facts: dict[str, Any] = {"Keys": keys, "SequenceNumber": _BEFORE_ALL.text, "StreamViewType": "NEW_IMAGE"}
    if item is not None:
        facts["NewImage"] = item
    if micros is not None:
        facts |= {"ApproximateCreationDateTime": micros, "ApproximateCreationDateTimePrecision": "MICROSECOND"}
    operation = Operation.REMOVE if item is None else Operation.INSERT
    is_kinesis = stream.minute is None
    record: dict[str, Any] = {"eventName": operation.value, "dynamodb": facts, "source": "load"}
    if is_kinesis:
        record["tableName"] = stream.table
    else:
        record |= {"eventSource": "aws:dynamodb", "eventSourceARN": stream.arn}
    return Change(
        operation=operation,
        stream=stream,
        sequence=_BEFORE_ALL,
        view=StreamView.NEW_IMAGE,
        images=ParsedImages(keys, None, item, record),
        created_micros=micros,
        wire=Wire.KINESIS if is_kinesis else Wire.LAMBDA,
        pinned_version=version,
    )


def keys_of(item: RawItem, names: Sequence[str]) -> RawItem:
    """The key attributes of an item.

    Raises:
        ConfigError: it lacks one: it is of another table.
    """
    try:
        return {name: item[name] for name in names}
    except KeyError as error:
        raise ConfigError(
            f"an item lacks the key attribute {error.args[0]!r}: it is of another table",
            remedy="Check that the export and the table belong together.",
        ) from error
