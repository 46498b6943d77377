"""Expectations: which documents an item makes, and which fields of them may rightly lag."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson

from cdc.errors import MalformedRecord
from cdc.loads.changes import change_of_item, keys_of
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.writes import Put
from cdc.outcome import Rejected
from cdc.records.attributes import RawItem, json_item
from cdc.records.change import Change
from cdc.records.stream import Stream

__all__ = ["Expectations", "keys_json", "whole_item"]

Paths = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Expectations:
    """The documents that a table's items should be in its indices, by its mapping."""

    compiled: CompiledMapping
    stream: Stream
    keys: tuple[str, ...]
    """The table's key attributes."""
    version: int
    """The version of a load."""

    @cached_property
    def indices(self) -> tuple[str, ...]:
        """The indices of the mapping, in its order."""
        return tuple(self.compiled.bodies)

    def change(self, item: RawItem | None, keys: RawItem, version: int) -> Change:
        """The item as a change at `version`; the removal of the keys where there is none."""
        return change_of_item(item, keys, self.stream, version=version)

    def puts(self, item: RawItem) -> Iterator[tuple[Put | Rejected, RawItem]]:
        """The documents of an item in all indices, and its keys. Rejected: one that can't be made."""
        keys = keys_of(item, self.keys)
        for write in self.compiled.writes(self.change(item, keys, self.version)):
            if isinstance(write, Put | Rejected):
                yield write, keys

    def put(self, index: str, item: RawItem) -> Put | Rejected | None:
        """The document of an item in an index; None if it has none there."""
        writes = self.only(index).writes(self.change(item, keys_of(item, self.keys), self.version))
        return next((write for write in writes if isinstance(write, Put | Rejected)), None)

    def only(self, index: str) -> CompiledMapping:
        """The mapping, for this index alone."""
        return self._by_index[index]

    @cached_property
    def _by_index(self) -> Mapping[str, CompiledMapping]:
        return {
            index: replace(self.compiled, owners=tuple(one for one in self.compiled.owners if one.index == index))
            for index in self.indices
        }

    def keeps(self, index: str, keys: RawItem | None) -> bool:
        """May a document of a removed item rightly stay, since `on_remove` or `on_expiry` says keep?"""
        return any(
            "keep" in (owner.document.on_remove, owner.document.on_expiry) and (keys is None or owner.may_take(keys))
            for owner in self.only(index).owners
        )

    def may_be_ours(self, index: str, keys: RawItem) -> bool:
        """Can an item of these keys have a document in the index?"""
        return any(owner.may_take(keys) for owner in self.only(index).owners)

    def ignored(self, index: str, item: RawItem | None = None) -> Paths:
        """The fields that may rightly lag, since a change of these alone is not written (`unless_only`): of the
        document that takes the item; without an item those that all documents of the index have in common."""
        paths = self._ignored[index]
        if len(paths) == 1:
            return paths[0]
        if item is not None:
            for owner, found in zip(self.only(index).owners, paths, strict=True):
                if owner.takes(item):
                    return found
            return ()
        return tuple(path for path in paths[0] if all(path in others for others in paths[1:]))

    @cached_property
    def _ignored(self) -> Mapping[str, Sequence[Paths]]:
        return {
            index: [
                tuple(_renamed(path, owner.rename) for path in owner.unless_only) for owner in self.only(index).owners
            ]
            for index in self.indices
        }


def _renamed(path: tuple[str, ...], renames: Sequence[tuple[tuple[str, ...], str]]) -> tuple[str, ...]:
    """The field at which an attribute's path is found in the document."""
    for renamed, name in renames:
        if path[: len(renamed)] == renamed:
            path = (*renamed[:-1], name, *path[len(renamed) :])
    return path


def keys_json(value: Any) -> bytes:
    """DynamoDB JSON as text, binary as base64."""
    return orjson.dumps(value, default=_base64)


def _base64(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    raise TypeError(type(value).__name__)


def whole_item(item: RawItem) -> bytes:
    """The document of all attributes, as JSON; empty where they can't be read."""
    try:
        return orjson.dumps(json_item(item))
    except (MalformedRecord, TypeError):
        return b""
