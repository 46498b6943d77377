"""Judgement: what is to be said of an item and the document that stands for it, by one look at both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cdc.mappings.writes import Put
from cdc.outcome import Rejected
from cdc.records.attributes import RawItem
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.verification.content import content_digest, has_set_aside, is_older_shape, read_document
from cdc.verification.expected import Expectations, whole_item
from cdc.verification.findings import DifferenceClass
from cdc.verification.sources import KnownSources, Origin

__all__ = ["Judge", "Judgement"]

Paths = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result: a class of difference, or None. `is_equal`: a document is there, and it is right."""

    kind: DifferenceClass | None
    reason: str = ""
    expected: bytes | None = None
    is_equal: bool = False
    set_aside: bool = False
    hindrance: str = ""
    """Why no writing can mend it; empty where it can."""


_NOTHING = Judgement(None)
_FOREIGN_ABOVE = "its version is above all that the table's stream will write: another program wrote it"
_LEFT_ABOVE = (
    "what is written at that version would hide the item's next changes: delete the document, wait for "
    "index.gc_deletes, and repair again; or build the index anew"
)
_FOREIGN_BELOW = "another program wrote it: its version is below all that the table's streams write"


@dataclass(frozen=True)
class Judge:
    """Judges items and documents. Without `with_content` a document that is there counts as right, unless another
    program wrote it."""

    expectations: Expectations
    sources: KnownSources
    with_content: bool = True

    def of(
        self,
        index: str,
        identifier: str,
        routing: str | None,
        keys: RawItem | None,
        item: RawItem | None,
        document: FoundDocument | None,
    ) -> Judgement:
        """The judgement of the document of this id and routing, and of the item of these keys."""
        put = None if item is None else self.expectations.put(index, item)
        if isinstance(put, Rejected):
            return self._unmakable(put, f"{index}/{identifier}", document)
        if put is None or (put.id, put.routing) != (identifier, routing):
            return self._unwanted(index, keys, item, document, put)
        if document is None:
            return Judgement(DifferenceClass.MISSING, "the item has no document", put.source)
        return self._both(index, item or {}, put, document)

    def _unmakable(self, rejected: Rejected, document_name: str, document: FoundDocument | None) -> Judgement:
        if rejected.document and rejected.document != document_name:
            return _NOTHING if document is None else Judgement(DifferenceClass.GHOST, "the item has another document")
        kind = DifferenceClass.MISSING if document is None else DifferenceClass.STALE
        reason = f"its document can't be made: {rejected.cause.text}"
        return Judgement(kind, reason, hindrance="correct the item or its mapping")

    def _unwanted(
        self,
        index: str,
        keys: RawItem | None,
        item: RawItem | None,
        document: FoundDocument | None,
        put: Put | None,
    ) -> Judgement:
        if document is None or (item is None and self.expectations.keeps(index, keys)):
            return _NOTHING
        if self.sources.is_shared(index) and (keys is None or not self.expectations.may_be_ours(index, keys)):
            return _NOTHING  # of another table's item, for all that can be told
        reason = "there is no such item"
        if put is not None:
            reason = "the item has a document of another id or routing"
        elif item is not None:
            reason = "the mapping does not take the item"
        if self.sources.origin(index, document.version) is not Origin.OURS:
            reason += "; another program wrote it"
        return Judgement(DifferenceClass.GHOST, reason)

    def _both(self, index: str, item: RawItem, put: Put, document: FoundDocument) -> Judgement:
        origin = self.sources.origin(index, document.version)
        if origin is Origin.ABOVE:
            return Judgement(DifferenceClass.FOREIGN, _FOREIGN_ABOVE, put.source, hindrance=_LEFT_ABOVE)
        source = document.source or b""
        right = Judgement(None, is_equal=True, set_aside=has_set_aside(source))
        if not self.with_content and origin is Origin.OURS:
            return right
        ignored = self.expectations.ignored(index, item)
        if source == put.source or content_digest(source, ignored) == content_digest(put.source, ignored):
            return right
        fields = _differing(source, put.source, ignored)
        if origin is Origin.BELOW:
            return Judgement(DifferenceClass.FOREIGN, f"{_FOREIGN_BELOW}; {fields}", put.source)
        if is_older_shape(source, put.source, whole_item(item)):
            reason = f"the values are right, and an older mapping made it; {fields}"
            return Judgement(DifferenceClass.SHAPE, reason, put.source)
        return Judgement(DifferenceClass.STALE, fields, put.source)


def _differing(found: bytes, expected: bytes, ignored: Paths) -> str:
    """The names of fields that differ, for people."""
    try:
        ours, theirs = read_document(expected), read_document(found)
    except (msgspec.MsgspecError, UnicodeError):
        return "it is no JSON"
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return "it is no document"
    left_out = {path[0] for path in ignored if len(path) == 1}
    encode = msgspec.json.Encoder(order="deterministic").encode
    other = [name for name in ours if name in theirs and encode(ours[name]) != encode(theirs[name])]
    parts = [
        ("differs in", other),
        ("lacks", [name for name in ours if name not in theirs]),
        ("has besides", [name for name in theirs if name not in ours]),
    ]
    told = [(text, [name for name in names if name not in left_out]) for text, names in parts]
    return "; ".join(f"{text} {_listed(names)}" for text, names in told if names)


_MOST_NAMES = 8


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_MOST_NAMES]))
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"
