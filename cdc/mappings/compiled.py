"""Documents: what a change of an item does to the indices that its table's mapping names.

An item has one owner in an index: the first document of the mapping, in its order, whose `where` takes it.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from cdc.causes import Cause, CauseKind
from cdc.errors import ConfigError, ImageMissing, MalformedRecord, Reject
from cdc.mappings.document_id import document_id, key_text
from cdc.mappings.fields import METADATA_FIELDS, only, rename, without
from cdc.mappings.model import (
    RESERVED_FIELDS,
    TABLE,
    TOMBSTONE_FIELD,
    DocumentRule,
    TableMapping,
    joined_path,
    resolved_index,
    split_path,
)
from cdc.mappings.pattern import Pattern, compile_pattern, part_of
from cdc.mappings.transforms import Transform, load_transform, transform_digest
from cdc.mappings.wider import same
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.attributes import RawItem, json_item, plain
from cdc.records.change import Change, Operation, raw_differences

if TYPE_CHECKING:
    from cdc._core import Plan as CorePlan

__all__ = [
    "CompiledMapping",
    "Owner",
    "compile_mapping",
]

NO_FIELDS = METADATA_FIELDS | RESERVED_FIELDS | {""}
"""Names that a document's own fields can't have."""


@dataclass(frozen=True)
class Owner:
    """A document of the mapping, compiled for one table."""

    document: DocumentRule
    index: str
    pattern: Pattern
    transform: Transform | None
    include: tuple[tuple[str, ...], ...] | None
    exclude: tuple[tuple[str, ...], ...]
    rename: tuple[tuple[tuple[str, ...], str], ...]
    unless_only: tuple[tuple[str, ...], ...]
    transform_digest: str = ""
    _of_keys: dict[frozenset[str], Pattern] = field(default_factory=dict, repr=False, compare=False)
    """The conditions on key attributes, by the names of these."""

    def takes(self, item: RawItem | None) -> bool:
        return item is not None and self.pattern.matches(item)

    def may_take(self, keys: RawItem) -> bool:
        """Can an item with these keys be one that the document takes?"""
        if self.pattern.attributes <= keys.keys():
            return self.takes(keys)
        names = frozenset(keys)
        if names not in self._of_keys:
            self._of_keys[names] = compile_pattern(part_of(self.document.where, names))
        return self._of_keys[names].matches(keys)

    def put(self, change: Change, item: RawItem, identifier: str, routing: str | None) -> Put | None:
        """The write of the document, or None if the transform says that the item has none.

        Raises:
            MalformedRecord: an attribute can't be read.
            Reject: the transform failed, or two fields would have one name.
        """
        selected = without(only(item, self.include) if self.include is not None else item, self.exclude)
        if self.transform is None:
            document = json_item(selected)
        else:
            transformed = self._transformed(self.transform, selected, change)
            if transformed is None:
                return None
            document = transformed
        for path, name in self.rename:
            rename(document, path, name)
        unfit = () if NO_FIELDS.isdisjoint(document) else self._unfit(document)
        try:
            source = orjson.dumps(document)
        except (TypeError, orjson.JSONEncodeError) as error:
            raise Reject("the document can't be written as JSON", detail=str(error)) from error
        return Put(self.index, identifier, routing, change.version, source, self._keys(change), unfit, self.sets_aside)

    @cached_property
    def sets_aside(self) -> bool:
        """Is what the index refuses set aside?"""
        return self.document.on_unfit == "set_aside"

    def _unfit(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """Fields that no index takes: an attribute may have any name, but a mapping may not write ours."""
        reserved = sorted(name for name in document if name in RESERVED_FIELDS)
        if reserved and (self.transform is not None or not self.sets_aside):
            raise Reject(f"the document has a field {reserved[0]}, which is reserved")
        return tuple(name for name in document if name in NO_FIELDS)

    def _keys(self, change: Change) -> Collection[str]:
        if not self.rename:
            return tuple(change.raw_keys)
        names = {path[0]: name for path, name in self.rename if len(path) == 1}
        return tuple(names.get(name, name) for name in change.raw_keys)

    def _transformed(self, transform: Transform, item: RawItem, change: Change) -> dict[str, Any] | None:
        from cdc.records.attributes import decode_item

        decoded = decode_item(item)
        name = f"transform {self.document.transform}"
        try:
            document = transform(decoded, change)
            if document is None or isinstance(document, Mapping):
                return None if document is None else plain(document)
        except Reject as verdict:
            raise Reject(f"{name} rejected it", detail=verdict.account) from verdict
        except Exception as error:
            raise Reject(f"{name} raised {type(error).__name__}", detail=traceback.format_exc()) from error
        raise Reject(f"{name} returned {type(document).__name__}; it gives a document (a mapping) or None")

    def ignores(self, change: Change) -> bool:
        """Did nothing change but what `unless_only` names?"""
        if not self.unless_only or change.raw_before is None or change.raw_after is None:
            return False
        return all(
            any(path[: len(ignored)] == ignored for ignored in self.unless_only)
            for path in raw_differences(change.raw_before, change.raw_after)
        )


@dataclass(frozen=True)
class CompiledMapping:
    """A mapping compiled for one table whose key attributes are known."""

    mapping: TableMapping
    table: str
    owners: tuple[Owner, ...]
    keys: tuple[str, ...] = ()
    """The table's key attributes in the order of their names; none where they are not known yet."""

    @cached_property
    def by_index(self) -> tuple[tuple[str, tuple[Owner, ...]], ...]:
        """The owners of each index, in their order."""
        groups: dict[str, list[Owner]] = {}
        for owner in self.owners:
            groups.setdefault(owner.index, []).append(owner)
        return tuple((index, tuple(owners)) for index, owners in groups.items())

    @property
    def bodies(self) -> Mapping[str, Mapping[str, Any]]:
        """Each index with the body that the mapping gives it."""
        return {index: owners[0].document.body for index, owners in self.by_index}

    @property
    def tombstoned(self) -> frozenset[str]:
        """The indices that hold tombstones."""
        return frozenset(
            owner.index for owner in self.owners if "tombstone" in (owner.document.on_remove, owner.document.on_expiry)
        )

    def writes(self, change: Change) -> tuple[Write | Rejected, ...]:
        """The writes that the change makes: one an index at most; none if no document takes it.

        Rejected stands for a document that can't be made of the item, which stops those of no other index.
        """
        core = change.core
        if core is not None:
            made = core.writes(self._core_plan, change.stream.minute)
            if made is not None:
                return made
        found = [self._write_or_rejected(change, index, owners) for index, owners in self.by_index]
        return tuple([write for write in found if write is not None])

    @cached_property
    def _core_plan(self) -> CorePlan:
        from cdc.mappings.core_plan import core_plan

        return core_plan(self)

    def _write_or_rejected(self, change: Change, index: str, owners: Sequence[Owner]) -> Write | Rejected | None:
        try:
            return self._write(change, index, owners)
        except MalformedRecord as error:
            path = ".".join(map(str, error.path))
            cause, detail = Cause(f"the item can't be read at {path}: {error.message}", CauseKind.UNREADABLE_ITEM), ""
        except Reject as error:
            cause, detail = Cause(error.message, CauseKind.UNWRITABLE_DOCUMENT), error.detail
        return Rejected(cause, detail, document=self._named(change, index, owners[0]), mapping=self.mapping.source)

    def _named(self, change: Change, index: str, owner: Owner) -> str:
        try:
            return f"{index}/{self._id(change, owner)}"
        except MalformedRecord:
            return index

    def _write(self, change: Change, index: str, owners: Sequence[Owner]) -> Write | None:
        before = self._owner_before(change, owners)
        if change.operation is Operation.REMOVE:
            if before is None:
                return None
            document = before.document
            policy = (document.on_expiry if change.expired else None) or document.on_remove
            return None if policy == "keep" else self._gone(change, index, before, tombstone=policy == "tombstone")
        if change.raw_after is None:
            raise ImageMissing(
                f"the stream of {self.table} has the view {change.view}, which carries no new image",
                remedy="Enable the stream with NEW_AND_OLD_IMAGES or NEW_IMAGE.",
            )
        after = next((owner for owner in owners if owner.takes(change.raw_after)), None)
        if after is None:
            left = before is not None and change.operation is not Operation.INSERT
            return self._leaving(change, index, before) if left and before is not None else None
        if after is before and change.raw_before is not None and after.ignores(change):
            return None
        put = after.put(change, change.raw_after, self._id(change, after), self._routing(change, after))
        return self._leaving(change, index, after) if put is None else put

    def _owner_before(self, change: Change, owners: Sequence[Owner]) -> Owner | None:
        """The owner of the item as it was. Without the old image: the one its keys decide, else whoever could be."""
        if change.raw_before is not None:
            return next((owner for owner in owners if owner.takes(change.raw_before)), None)
        keys = change.raw_keys
        for owner in owners:
            if owner.may_take(keys):
                return owner
        return None

    def _leaving(self, change: Change, index: str, owner: Owner) -> Write:
        return self._gone(change, index, owner, tombstone=owner.document.on_remove == "tombstone")

    def _gone(self, change: Change, index: str, owner: Owner, *, tombstone: bool) -> Write:
        identifier, routing = self._id(change, owner), self._routing(change, owner)
        if tombstone:
            removed = change.created_at or datetime.now(UTC)  # too late rather than too early: it may not be purged yet
            source = orjson.dumps({TOMBSTONE_FIELD: removed.isoformat()})
            return Put(index, identifier, routing, change.version, source)
        return Delete(index, identifier, routing, change.version)

    def _id(self, change: Change, owner: Owner) -> str:
        names = owner.document.id or sorted(change.raw_keys)
        return document_id([self.table if name == TABLE else _key(change, name) for name in names])

    def _routing(self, change: Change, owner: Owner) -> str | None:
        return None if owner.document.routing is None else _key(change, owner.document.routing)


def _key(change: Change, name: str) -> str:
    try:
        return key_text(change.raw_keys[name])
    except KeyError:
        raise MalformedRecord(f"the record's keys lack {name!r}", path=("Keys",)) from None
    except MalformedRecord as error:
        raise error.under("Keys", name) from None


def compile_mapping(mapping: TableMapping, table: str, keys: Sequence[str] | None = None) -> CompiledMapping:
    """Compile a mapping for `table`. With its key attributes ids and routing are checked too. A default id is made of
    each change's own keys, in the order of their names.

    Raises:
        ConfigError: a transform can't be loaded; an id or a routing names what is no key, or leaves a key out.
    """
    owners = tuple(_compile(document, mapping, table) for document in mapping.documents)
    for position, owner in enumerate(owners):
        if keys is not None:
            _check_keys(owner, keys, f"{mapping.source}: documents[{position}]")
            _check_pins(owners[: position + 1], keys, f"{mapping.source}: documents[{position}]")
    return CompiledMapping(mapping, table, owners, tuple(sorted(keys or ())))


def _compile(document: DocumentRule, mapping: TableMapping, table: str) -> Owner:
    fields = document.fields
    return Owner(
        document=document,
        index=resolved_index(document.index, table),
        pattern=compile_pattern(document.where),
        transform=load_transform(document.transform, mapping.source) if document.transform else None,
        include=None if fields.include is None else tuple(map(split_path, fields.include)),
        exclude=tuple(map(split_path, fields.exclude)),
        rename=tuple((split_path(path), name) for path, name in fields.rename.items()),
        unless_only=tuple(map(split_path, document.unless_only)),
        transform_digest=transform_digest(document.transform, mapping.source) if document.transform else "",
    )


def _check_keys(owner: Owner, keys: Sequence[str], at: str) -> None:
    names = [name for name in owner.document.id if name != TABLE]
    strange = [name for name in (*names, *filter(None, [owner.document.routing])) if name not in keys]
    if strange:
        raise ConfigError(
            f"{at}: {strange[0]!r} is no key attribute of the table; its keys are {', '.join(keys)}",
            remedy="Only key attributes never change: use them for id and routing.",
        )
    missing = [key for key in keys if owner.document.id and key not in names and key not in owner.pattern.pinned]
    if missing:
        raise ConfigError(
            f"{at}.id: leaves out the key attribute {missing[0]!r}: several items would be one document",
            remedy=f"Add it to id, or let `where` pin it to one value: {missing[0]}: [value].",
        )


def _check_pins(owners: Sequence[Owner], keys: Sequence[str], at: str) -> None:
    """A key that the id leaves out must be pinned to one value by all documents of an index, not to one each."""
    *others, last = owners
    for other in others:
        if other.index != last.index or not last.document.id:
            continue
        for key in keys:
            if key in last.document.id or key in other.document.id:
                continue
            pinned, before = (owner.document.where.get(joined_path((key,))) for owner in (last, other))
            if pinned is None or same(pinned) != same(before):
                raise ConfigError(
                    f"{at}.id: leaves out the key attribute {key!r}, which `where` pins to {pinned} here and "
                    f"to {before} in another document of {last.index!r}: items of both would be one document",
                    remedy=f"Add {key!r} to the id of both, or use another index.",
                )
