"""Change: one INSERT, MODIFY or REMOVE of an item, and what differs between its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cdc.errors import ImageMissing, MalformedRecord
from cdc.records.attributes import Item, RawItem, Value, decode_item
from cdc.records.differences import Added, Changed, Difference, Path, Removed, raw_differences
from cdc.records.identity import RecordIdentity, images_digest, keys_digest
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.records.versions import version_at, version_in_stream

if TYPE_CHECKING:
    from cdc._core import Record as CoreRecord

__all__ = [
    "Added",
    "Change",
    "Changed",
    "Difference",
    "Images",
    "Operation",
    "ParsedImages",
    "Path",
    "Removed",
    "StreamView",
    "Wire",
    "raw_differences",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Operation(StrEnum):
    """The kind of change of an item (Amazon DynamoDB Streams API Reference, "Record": eventName)."""

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
    """A record of the KCL's adapter: creation in epoch milliseconds, no ARN of the stream."""
    KINESIS = "kinesis"
    """The data of a Kinesis record: neither ARN nor sequence number of the stream are in it."""


class Images(Protocol):
    """A record's keys and images in DynamoDB JSON, and the record as it was received."""

    @property
    def keys(self) -> RawItem:
        """The key attributes."""
        ...

    @property
    def before(self) -> RawItem | None:
        """The item before the change; None if there is no such image."""
        ...

    @property
    def after(self) -> RawItem | None:
        """The item after the change; None if there is no such image."""
        ...

    @property
    def record(self) -> dict[str, Any]:
        """The record."""
        ...


class ParsedImages(msgspec.Struct, frozen=True):
    """The images of a record that is parsed already."""

    keys: RawItem
    before: RawItem | None
    after: RawItem | None
    record: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True, dict=True, eq=False):
    """One change of one item. Built without touching the images: they decode on first use.

    `keys`, `before`, `after` and `differences()` raise `MalformedRecord` when what they decode can't be read.
    """

    operation: Operation
    stream: Stream
    sequence: SequenceNumber
    view: StreamView
    images: Images
    created_micros: int | None
    """Microseconds since 1970 of the change; None if the record of a DynamoDB stream does not say (it is optional)."""
    expired: bool = False
    event_id: str = ""
    is_coarse: bool = False
    """Does it rank by a time in milliseconds? Then two changes of an item may be indistinguishable."""
    wire: Wire = Wire.LAMBDA
    """The shape of `record`."""
    redriven: bool = False
    """Does it come from a dead letter? Then newer changes of the item may have been seen before it."""
    pinned_version: int | None = None
    """The version to write at, where no record gives it: of an item that a load or a repair has read."""

    def __eq__(self, other: object) -> bool:
        """Is it the same change? How it was received (`record`, `wire`, `redriven`) does not
        count."""
        return isinstance(other, Change) and all(getattr(self, name) == getattr(other, name) for name in _COMPARED)

    def __hash__(self) -> int:
        return hash(self.identity)

    @property
    def table(self) -> str:
        """The table's name."""
        return self.stream.table

    @property
    def core(self) -> CoreRecord | None:
        """The record as the compiled core has read it, if it has. A changed copy of a change has none: it says
        something else than its record."""
        return self.__dict__.get("core")

    @property
    def record(self) -> dict[str, Any]:
        """The record as it was received."""
        return self.images.record

    @property
    def raw_keys(self) -> RawItem:
        """The item's key attributes in DynamoDB JSON."""
        return self.images.keys

    @property
    def raw_before(self) -> RawItem | None:
        """The item before the change, in DynamoDB JSON; None as `before`."""
        return self.images.before

    @property
    def raw_after(self) -> RawItem | None:
        """The item after the change, in DynamoDB JSON; None as `after`."""
        return self.images.after

    @property
    def has_before(self) -> bool:
        """Is there an image of the item before the change?"""
        core = self.core
        return self.images.before is not None if core is None else core.has_before

    @property
    def has_after(self) -> bool:
        """Is there an image of the item after the change?"""
        core = self.core
        return self.images.after is not None if core is None else core.has_after

    @cached_property
    def keys(self) -> Item:
        """The item's key attributes."""
        return decode_item(self.raw_keys) if self.core is None else self.core.keys()

    @cached_property
    def before(self) -> Item | None:
        """The item before the change; None if there was none, or if the stream's view leaves it out."""
        if self.core is not None:
            return self.core.before()
        return None if self.raw_before is None else decode_item(self.raw_before)

    @cached_property
    def after(self) -> Item | None:
        """The item after the change; None if it is gone, or if the stream's view leaves it out."""
        if self.core is not None:
            return self.core.after()
        return None if self.raw_after is None else decode_item(self.raw_after)

    @property
    def created_at(self) -> datetime | None:
        """When the change was made, about (UTC); None if its record does not say."""
        return None if self.created_micros is None else _EPOCH + timedelta(microseconds=self.created_micros)

    @cached_property
    def identity(self) -> RecordIdentity:
        """The identity of the change: equal for two deliveries of it."""
        digest = keys_digest(self.raw_keys)
        if self.stream.minute is None:
            position = str(self._needed_micros)
            if self.is_coarse:  # several changes of an item may share a millisecond: their images tell them apart
                position += "-" + images_digest(self.raw_before, self.raw_after)
            return RecordIdentity(self.table, position, digest)
        return RecordIdentity(self.stream.label, str(self.sequence.value), digest)

    @property
    def version(self) -> int:
        """The version of the document that shows this state."""
        if self.pinned_version is not None:
            return self.pinned_version
        if self.stream.minute is None:
            return version_at(self._needed_micros)
        return version_in_stream(self.stream.minute, self.sequence.value)

    @property
    def _needed_micros(self) -> int:
        """The time of a Kinesis record, which has nothing else to be ordered by."""
        if self.created_micros is None:
            raise MalformedRecord(
                "there is none, and a Kinesis record is ordered by it", path=("dynamodb", "ApproximateCreationDateTime")
            )
        return self.created_micros

    def changed_paths(self) -> Sequence[Path]:
        """The paths of `differences()`; quicker, where the values are not asked for.

        Raises:
            ImageMissing: the stream's view leaves out an image that this change has.
        """
        self._check_images()
        found = None if self.core is None else self.core.changed_paths()
        return tuple(self.differences()) if found is None else found

    def differences(self) -> Mapping[Path, Difference]:
        """The differences between the images, by path; empty if there are none.

        Numbers are compared by value, sets as sets, lists by index, NULL unlike absent. Equal parts are not decoded.

        Raises:
            ImageMissing: the stream's view leaves out an image that this change has.
        """
        self._check_images()
        found = None if self.core is None else self.core.differences()
        if found is None:
            return raw_differences(self.raw_before or {}, self.raw_after or {})
        return {path: _difference(*sides) for path, *sides in found}

    def _check_images(self) -> None:
        if (not self.has_before and self.operation is not Operation.INSERT) or (
            not self.has_after and self.operation is not Operation.REMOVE
        ):
            raise ImageMissing(
                f"the stream of {self.table} has the view {self.view}: there is no old and new image to compare",
                remedy="Enable the stream with NEW_AND_OLD_IMAGES.",
            )


def _difference(has_before: bool, before: Value, has_after: bool, after: Value) -> Difference:
    if not has_before:
        return Added(after)
    return Changed(before, after) if has_after else Removed(before)


_COMPARED = [
    *(name for name in Change.__struct_fields__ if name not in ("images", "wire", "redriven")),
    *("raw_keys", "raw_before", "raw_after"),
]
