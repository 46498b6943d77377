"""Keys of documents: which item a document is of, told by its id, else by its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cdc.mappings.document_id import document_id, id_parts, key_of_text, key_text
from cdc.mappings.model import TABLE, joined_path
from cdc.records.attributes import RawItem
from cdc.verification.content import read_document
from cdc.verification.expected import Expectations

__all__ = ["KeysOfDocuments"]


@dataclass
class KeysOfDocuments:
    """Finds the keys of the items that documents are of. The types of key attributes are learned from items."""

    expectations: Expectations
    types: dict[str, str] = field(default_factory=dict)
    """S, N or B, by the names of key attributes; none before an item was seen."""

    def learn(self, item: RawItem) -> None:
        """Note the types of the item's keys."""
        if not self.types:
            self.types = {name: next(iter(item[name])) for name in self.expectations.keys}

    def of_id(self, index: str, identifier: str) -> RawItem | None:
        """The keys that the index's documents make this id of; None where it does not tell them."""
        for names, pinned in self._ids(index):
            parts = id_parts(identifier, len(names))
            if parts is None:
                continue
            texts = dict(zip(names, parts, strict=True))
            if texts.pop(TABLE, self.expectations.stream.table) != self.expectations.stream.table:
                continue
            keys = self._typed({**pinned, **texts})
            if keys is not None:
                return keys
        return None

    def of_source(self, index: str, identifier: str, source: bytes) -> RawItem | None:
        """The keys that the document's fields hold, if they make this id: for ids that are digests."""
        try:
            document = read_document(source)
        except (msgspec.MsgspecError, UnicodeError):
            return None
        if not isinstance(document, dict):
            return None
        for owner in self.expectations.only(index).owners:
            renames = {path[0]: name for path, name in owner.rename if len(path) == 1}
            values = {name: document.get(renames.get(name, name)) for name in self.expectations.keys}
            pinned = self._pinned(owner.document.where)
            texts = {name: _text(value) for name, value in values.items()}
            keys = self._typed({**{name: text for name, text in texts.items() if text is not None}, **pinned})
            if keys is not None and self.id_of(owner.document.id, keys) == identifier:
                return keys
        return None

    def id_of(self, names: Sequence[str], keys: RawItem) -> str:
        """The id that these parts of an item's keys make; without any that of all its keys."""
        table = self.expectations.stream.table
        return document_id([table if name == TABLE else key_text(keys[name]) for name in names or sorted(keys)])

    def _ids(self, index: str) -> Iterator[tuple[Sequence[str], Mapping[str, str]]]:
        """The parts of each id of the index, with the texts of keys that `where` pins."""
        for owner in self.expectations.only(index).owners:
            names = owner.document.id or sorted(self.expectations.keys)
            pinned = self._pinned(owner.document.where)
            if set(self.expectations.keys) <= {*names, *pinned}:
                yield names, pinned

    def _pinned(self, where: Mapping[str, Any]) -> dict[str, str]:
        found = {}
        for name in self.expectations.keys:
            allowed = where.get(joined_path((name,)))
            text = _text(allowed[0]) if isinstance(allowed, list) and len(allowed) == 1 else None
            if text is not None:
                found[name] = text
        return found

    def _typed(self, texts: Mapping[str, str]) -> RawItem | None:
        """The keys of these texts, if each is a text of its type."""
        keys: RawItem = {}
        for name in self.expectations.keys:
            tag, text = self.types.get(name), texts.get(name)
            key = None if tag is None or text is None else _key(text, tag)
            if key is None:
                return None
            keys[name] = key
        return keys


def _key(text: str, tag: str) -> dict[str, str] | None:
    found = key_of_text(text, tag)
    # as a document's field binary is base64 with the usual letters
    return {"B": text} if found is None and tag == "B" and key_of_text(_id_text(text), tag) else found


def _id_text(text: str) -> str:
    return key_text({"B": text})


def _text(value: Any) -> str | None:
    """The text of a value that a pattern or a document has, as an id would have it; None of what is no key."""
    match value:
        case bool() | None:
            return None
        case str():
            return value
        case msgspec.Raw():
            return bytes(value).decode()
        case int() | float():
            return key_text({"N": str(value)})
    return key_text({"N": str(value)}) if hasattr(value, "as_tuple") else None
