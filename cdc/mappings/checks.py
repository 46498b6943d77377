"""Checks of what mappings mean: of one file, and of files together. Names and types are right by then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from cdc.mappings.fields import refused_name
from cdc.mappings.model import (
    ASIDE_FIELD,
    ASIDE_NAMES_FIELD,
    TABLE,
    TOMBSTONE_FIELD,
    DocumentRule,
    TableMapping,
    resolved_index,
    split_path,
)
from cdc.mappings.pattern import faults_of_pattern
from cdc.mappings.text import Fault, Place

__all__ = ["across_files", "faults_of", "with_floats"]

_INDEX = re.compile(r"[^\s\"*\\<|,>/?#:\x00]+")
_MAX_INDEX_BYTES = 255
"""OpenSearch's rules for names of indices (OpenSearch documentation, "Create index": naming restrictions)."""
_RESERVED = {
    TOMBSTONE_FIELD: "tombstones",
    ASIDE_FIELD: "what an index refuses",
    ASIDE_NAMES_FIELD: "the names of what an index refuses",
}
_SHARED = ("id", "routing", "on_remove", "on_expiry", "body")


def with_floats(value: Any) -> Any:
    """The value as OpenSearch's own bodies have it, which are JSON."""
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {name: with_floats(inner) for name, inner in value.items()}
        case list():
            return [with_floats(inner) for inner in value]
    return value


def faults_of(mapping: TableMapping, known: Sequence[Place] = ()) -> list[Fault]:
    """Every fault of one mapping. What is at fault at a place of `known` is not judged again."""
    return [fault for fault in _faults(mapping, known) if not _is_below(fault[0], known)]


def _is_below(place: Place, known: Sequence[Place]) -> bool:
    return any(place[: len(other)] == other for other in known)


def _faults(mapping: TableMapping, known: Sequence[Place]) -> Iterator[Fault]:
    if not mapping.table:
        yield ("table",), "is empty; it is the table's name or a glob"
    if not mapping.documents and not mapping.archived:
        yield ("documents",), "there are none and archive is false: nothing would be done; remove the file"
    for position, document in enumerate(mapping.documents):
        for place, text in _document(document, mapping):
            yield ("documents", position, *place), text
    yield from _shared_indices(mapping, known)


def _document(document: DocumentRule, mapping: TableMapping) -> Iterator[Fault]:
    yield from _index(document, mapping)
    for place, text in faults_of_pattern(document.where):
        yield ("where", *place), text
    if document.unless_only and document.transform is None:
        included = {split_path(path)[0] for path in document.fields.include or ()}
        if included and not included - {split_path(path)[0] for path in document.unless_only}:
            yield ("unless_only",), "names every included field: no change would ever be sent"
    for name in ("settings", "mappings", "aliases"):
        if not isinstance(document.body.get(name, {}), dict):
            yield ("body", name), f"is a map of OpenSearch's {name}"
    yield from _names_in(document.body, ("body",))
    yield from _fields(document)
    if document.transform is not None and not re.fullmatch(r"[\w.]+:[\w.]+", document.transform):
        yield ("transform",), f"{document.transform!r} is not module:function, such as shop:order"


def _names_in(value: Any, place: Place) -> Iterator[Fault]:
    """Names in YAML that are no texts, such as `true` and `2026`: a body is JSON."""
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _names_in(inner, (*place, position))
    elif isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                yield (*place, str(name)), f"the name {str(name).lower()} is no text; put it in quotes"
            yield from _names_in(inner, (*place, str(name)))


def _index(document: DocumentRule, mapping: TableMapping) -> Iterator[Fault]:
    beginning = re.split(r"[*?\[]", mapping.table)[0] if mapping.is_glob else mapping.table
    name = resolved_index(document.index, beginning or "t")
    if "{" in name or "}" in name:
        yield ("index",), f"{document.index!r}: {TABLE} alone may stand in braces"
    elif not _INDEX.fullmatch(name) or name != name.lower() or name[0] in "-_+" or name in (".", ".."):
        yield (
            ("index",),
            f"{document.index!r} is no name that OpenSearch takes; use small letters, digits, - and _, and begin with "
            "a letter or a digit",
        )
    elif len(f"{name}-v1".encode()) > _MAX_INDEX_BYTES:
        yield ("index",), f"{document.index!r} is longer than OpenSearch takes: {_MAX_INDEX_BYTES - 3} bytes"
    if mapping.is_glob and TABLE not in document.index and TABLE not in document.id:
        yield (
            ("index",),
            "several tables would write the same documents; "
            f'put the table in the index ("{TABLE}-{document.index}") or in the id (id: ["{TABLE}", …])',
        )


def _fields(document: DocumentRule) -> Iterator[Fault]:
    targets = list(document.fields.rename.values())
    for path, name in document.fields.rename.items():
        if refused_name({name: None}, top=len(split_path(path)) == 1) is not None:
            yield ("fields", "rename", path), f"{name!r} is no name of a field that OpenSearch takes"
    for name in sorted({name for name in targets if targets.count(name) > 1}):
        yield ("fields", "rename"), f"two fields would be named {name!r}"
    included = {split_path(path)[0] for path in document.fields.include or ()}
    mappings = document.body.get("mappings")
    properties = mappings.get("properties") if isinstance(mappings, dict) else None
    for name, purpose in _RESERVED.items():
        if name in targets:
            yield ("fields", "rename"), f"{name} is reserved for {purpose}"
        if name in included:
            yield ("fields", "include"), f"{name} is reserved for {purpose}"
        if isinstance(properties, dict) and name in properties:
            yield ("body", "mappings", "properties", name), f"is reserved for {purpose}; leave it out"


def _index_of(document: DocumentRule, mapping: TableMapping) -> str:
    return document.index if mapping.is_glob else resolved_index(document.index, mapping.table)


def _shared_indices(mapping: TableMapping, known: Sequence[Place]) -> Iterator[Fault]:
    """Documents that share an index must agree on what makes a document one: an item has one owner there."""
    first: dict[str, tuple[int, DocumentRule]] = {}
    for position, document in enumerate(mapping.documents):
        if _is_below(("documents", position, "index"), known):
            continue
        other_position, other = first.setdefault(_index_of(document, mapping), (position, document))
        for field in _SHARED:
            differs = getattr(document, field) != getattr(other, field)
            if differs and not _has_fault_in(("documents", other_position, field), known):
                yield (
                    ("documents", position, field),
                    f"differs from documents[{other_position}], which writes to the same index {document.index!r}; "
                    "make them equal, or use another index",
                )


def _has_fault_in(place: Place, known: Sequence[Place]) -> bool:
    return any(other[: len(place)] == place for other in known)


def across_files(files: Sequence[tuple[TableMapping, Sequence[Fault]]]) -> list[list[Fault]]:
    """For each file the faults that it has beside the others. Where a name is at fault already it is not compared."""
    found: list[list[Fault]] = []
    tables: dict[str, str] = {}
    writers: dict[str, str] = {}
    named = {_index_of(document, file) for file, _ in files for document in file.documents}
    for file, faults in files:
        known = [place for place, _ in faults]
        found.append([])
        if not _is_below(("table",), known):
            other = tables.setdefault(file.table, file.source)
            if other != file.source:
                found[-1].append((("table",), f"{file.table!r} has a mapping in {other} already; join the two files"))
        for position, document in enumerate(file.documents):
            place = ("documents", position, "index")
            if _is_below(place, known):
                continue
            behind = _index_of(document, file).removesuffix("-v1")
            if behind != _index_of(document, file) and behind in named:
                text = f"{document.index!r} is the index behind the alias {behind!r}, which is written too; rename one"
                found[-1].append((place, text))
            writer = writers.setdefault(_index_of(document, file), file.source)
            if writer != file.source and TABLE not in document.id:
                found[-1].append(
                    (
                        place,
                        f"{writer} writes to {document.index!r} too; "
                        f'put the table in the index or in the id (id: ["{TABLE}", …])',
                    )
                )
    return found
