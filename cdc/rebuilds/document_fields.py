"""Document fields: two documents compared field by field, by paths and kinds of values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.rebuilds.mapping_diff import DocumentField
from cdc.verification.content import read_document

__all__ = ["FieldCounts", "differing_fields", "fields_of"]

_ENCODER = msgspec.json.Encoder(order="deterministic")
_MOST_KINDS = 5000
"""Paths whose kinds of values are kept: maps that are keyed by ids have no end of them."""

Change = Literal["added", "removed", "changed"]
Fields = Mapping[str, Sequence[Any]]


def fields_of(source: bytes) -> Fields:
    """The values of a document at each dotted path, those in lists at the path that the elements have in common;
    fields that were set aside stand in their place. Empty maps and lists hold none; neither does what is no JSON."""
    found: dict[str, list[Any]] = {}
    try:
        document = read_document(source)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return found
    for path, value in _leaves("", document):
        found.setdefault(path, []).append(value)
    for name in (ASIDE_FIELD, ASIDE_NAMES_FIELD):
        found.pop(name, None)
    return found


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(path, inner)
    elif path:
        yield path, value


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | msgspec.Raw():
            return "number"
    return ""


class FieldCounts:
    """How often each field of documents would be added, removed or changed, and the kinds of values on both sides."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Change]] = Counter()
        self._kinds: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})

    def add(self, before: Fields | None, after: Fields | None, ignored: Sequence[tuple[str, ...]] = ()) -> None:
        """Count a document as it is and as it would be; None: there is none.

        Args:
            ignored: paths whose values may rightly lag.
        """
        for side, kinds in zip((before, after), self._kinds, strict=True):
            self._learn(side or {}, kinds)
        if before is None or after is None:
            return
        for path, change in differing_fields(before, after, ignored):
            self._counts[path, change] += 1

    def _learn(self, fields: Fields, kinds: dict[str, set[str]]) -> None:
        for path, values in fields.items():
            if path in kinds or len(kinds) < _MOST_KINDS:
                kinds.setdefault(path, set()).update(filter(None, map(_kind, values)))

    def fields(self) -> tuple[DocumentField, ...]:
        """The counts, by paths."""
        return tuple(DocumentField(path, change, count) for (path, change), count in sorted(self._counts.items()))

    def kinds(self, path: str) -> tuple[frozenset[str], frozenset[str]]:
        """The kinds of values at a path, in the documents of today and in those that would be."""
        before, after = self._kinds
        return frozenset(before.get(path, ())), frozenset(after.get(path, ()))


def differing_fields(
    before: Fields, after: Fields, ignored: Sequence[tuple[str, ...]] = ()
) -> Iterator[tuple[str, Change]]:
    """The fields in which two documents differ."""
    lagging = tuple(".".join(path) for path in ignored)
    for path in dict.fromkeys([*before, *after]):
        if any(path == one or path.startswith(f"{one}.") for one in lagging):
            continue
        if path not in before:
            yield path, "added"
        elif path not in after:
            yield path, "removed"
        elif _ENCODER.encode(before[path]) != _ENCODER.encode(after[path]):
            yield path, "changed"
