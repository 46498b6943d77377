"""Change: one INSERT, MODIFY or REMOVE of an item, and what differs between its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from cdc.attributes import Item, RawItem, Value, decode_item, decode_number, decode_value, split
from cdc.errors import ImageMissing, MalformedRecord
from cdc.sequence import (
    RecordIdentity,
    SequenceNumber,
    Stream,
    images_digest,
    keys_digest,
    version_at,
    version_in_stream,
)

__all__ = [
    "Added",
    "Change",
    "Changed",
    "Difference",
    "Operation",
    "Path",
    "Removed",
    "StreamView",
    "Wire",
    "raw_differences",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Path = tuple[str | int, ...]
"""Attribute names and list indexes, outermost first."""


class Operation(StrEnum):
    """What happened to the item (Amazon DynamoDB Streams API Reference, "Record": eventName)."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


class StreamView(StrEnum):
    """Which images a stream's records carry (Amazon DynamoDB API Reference, "StreamSpecification")."""

    NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"
    NEW_IMAGE = "NEW_IMAGE"
    OLD_IMAGE = "OLD_IMAGE"
    KEYS_ONLY = "KEYS_ONLY"

    @property
    def has_new_image(self) -> bool:
        """Do records carry the item as it is after the change?"""
        return self in (StreamView.NEW_AND_OLD_IMAGES, StreamView.NEW_IMAGE)

    @property
    def has_old_image(self) -> bool:
        """Do records carry the item as it was before the change?"""
        return self in (StreamView.NEW_AND_OLD_IMAGES, StreamView.OLD_IMAGE)


class Wire(StrEnum):
    """The shape in which a record was received: what it takes to read it again."""

    LAMBDA = "lambda"
    """A record of a Lambda event, or of GetRecords: creation in epoch seconds."""
    ADAPTER = "adapter"
    """What the KCL's adapter gives: creation in epoch milliseconds, no ARN of the stream."""
    KINESIS = "kinesis"
    """The data of a Kinesis record: neither ARN nor sequence number of the stream are in it."""


@dataclass(frozen=True, slots=True)
class Added:
    """There was nothing at the path."""

    after: Value


@dataclass(frozen=True, slots=True)
class Removed:
    """There is nothing at the path any more."""

    before: Value


@dataclass(frozen=True, slots=True)
class Changed:
    """Another value, or the same of another type."""

    before: Value
    after: Value


Difference = Added | Removed | Changed


@dataclass(frozen=True)
class Change:
    """One change of one item. Built without touching the images: they decode on first use.

    `keys`, `before`, `after` and `differences()` raise `MalformedRecord` when what they decode can't be read.
    `record` is the record as it was received.
    """

    operation: Operation
    stream: Stream
    sequence: SequenceNumber
    view: StreamView
    raw_keys: RawItem
    raw_before: RawItem | None
    raw_after: RawItem | None
    created_micros: int
    expired: bool = False
    event_id: str = ""
    is_coarse: bool = False
    """Does it rank by a time in milliseconds? Then two changes of an item may be indistinguishable."""
    record: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    wire: Wire = field(default=Wire.LAMBDA, compare=False)
    """The shape of `record`."""
    redriven: bool = field(default=False, compare=False)
    """Does it come from a dead letter? Then newer changes of the item may have been seen before it."""

    @property
    def table(self) -> str:
        """The table's name."""
        return self.stream.table

    @cached_property
    def keys(self) -> Item:
        """The item's key attributes."""
        return decode_item(self.raw_keys)

    @cached_property
    def before(self) -> Item | None:
        """The item before the change; None if there was none, or if the stream's view leaves it out."""
        return None if self.raw_before is None else decode_item(self.raw_before)

    @cached_property
    def after(self) -> Item | None:
        """The item after the change; None if it is gone, or if the stream's view leaves it out."""
        return None if self.raw_after is None else decode_item(self.raw_after)

    @property
    def created_at(self) -> datetime:
        """When the change was made, about (UTC)."""
        return _EPOCH + timedelta(microseconds=self.created_micros)

    @cached_property
    def identity(self) -> RecordIdentity:
        """What makes two deliveries the same change."""
        digest = keys_digest(self.raw_keys)
        if self.stream.minute is None:
            position = str(self.created_micros)
            if self.is_coarse:  # several changes of an item may share a millisecond: their images tell them apart
                position += "-" + images_digest(self.raw_before, self.raw_after)
            return RecordIdentity(self.table, position, digest)
        return RecordIdentity(self.stream.label, str(self.sequence.value), digest)

    @property
    def version(self) -> int:
        """The version of the document that shows this state."""
        if self.stream.minute is None:
            return version_at(self.created_micros)
        return version_in_stream(self.stream.minute, self.sequence.value)

    def differences(self) -> Mapping[Path, Difference]:
        """What differs between the images, by path; empty if nothing does.

        Numbers are compared by value, sets as sets, lists by index, NULL unlike absent. Equal parts are not decoded.

        Raises:
            ImageMissing: the stream's view leaves out an image that this change has.
        """
        if (self.raw_before is None and self.operation is not Operation.INSERT) or (
            self.raw_after is None and self.operation is not Operation.REMOVE
        ):
            raise ImageMissing(
                f"the stream of {self.table} has the view {self.view}: there is no old and new image to compare",
                remedy="Enable the stream with NEW_AND_OLD_IMAGES.",
            )
        return dict(raw_differences(self.raw_before or {}, self.raw_after or {}))


def raw_differences(before: RawItem, after: RawItem, at: Path = ()) -> Iterator[tuple[Path, Difference]]:
    """The differences of two items in DynamoDB JSON, decoding only what differs."""
    for name, old in before.items():
        path = (*at, name)
        new = after.get(name)
        if new is None:
            yield path, Removed(_value(old, path))
        elif old != new:
            yield from _value_differences(old, new, path)
    for name, new in after.items():
        if name not in before:
            path = (*at, name)
            yield path, Added(_value(new, path))


def _value_differences(old: Any, new: Any, at: Path) -> Iterator[tuple[Path, Difference]]:
    try:
        (old_tag, old_content), (new_tag, new_content) = split(old), split(new)
    except MalformedRecord as error:
        raise error.under(*at) from None
    if old_tag == new_tag:
        match old_tag:
            case "M" if isinstance(old_content, Mapping) and isinstance(new_content, Mapping):
                yield from raw_differences(old_content, new_content, at)
                return
            case "L" if isinstance(old_content, list) and isinstance(new_content, list):
                yield from _list_differences(old_content, new_content, at)
                return
            case "N" if _number(old_content, at) == _number(new_content, at):
                return
            case "SS" | "NS" | "BS" | "B" if _value(old, at) == _value(new, at):
                return
    yield at, Changed(_value(old, at), _value(new, at))


def _list_differences(old: list[Any], new: list[Any], at: Path) -> Iterator[tuple[Path, Difference]]:
    for position in range(max(len(old), len(new))):
        path = (*at, position)
        if position >= len(new):
            yield path, Removed(_value(old[position], path))
        elif position >= len(old):
            yield path, Added(_value(new[position], path))
        elif old[position] != new[position]:
            yield from _value_differences(old[position], new[position], path)


def _value(raw: Any, at: Path) -> Value:
    try:
        return decode_value(raw)
    except MalformedRecord as error:
        raise error.under(*at) from None


def _number(text: Any, at: Path) -> Any:
    try:
        return decode_number(text)
    except MalformedRecord as error:
        raise error.under(*at) from None
