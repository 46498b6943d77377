"""Fields: which attributes of an item become fields of its document, and under what names.

Selecting works on DynamoDB JSON, so that what is left out is never decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdc.errors import Reject
from cdc.records.attributes import RawItem

__all__ = [
    "MAX_NAME_CHARACTERS",
    "METADATA_FIELDS",
    "fields_with_refused_names",
    "only",
    "refused_name",
    "rename",
    "without",
]


def only(item: RawItem, paths: Sequence[tuple[str, ...]]) -> RawItem:
    """The attributes at `paths`, each within the maps that lead to it."""
    chosen: dict[str, Any] = {}
    for path in paths:
        _copy(item, path, chosen)
    return chosen


def _copy(item: RawItem, path: tuple[str, ...], into: dict[str, Any]) -> None:
    name, rest = path[0], path[1:]
    value = item.get(name)
    if value is None or into.get(name) is value:
        return
    if not rest:
        into[name] = value
    elif isinstance(value, dict) and isinstance(value.get("M"), dict):
        _copy(value["M"], rest, into.setdefault(name, {"M": {}})["M"])


def without(item: RawItem, paths: Sequence[tuple[str, ...]]) -> RawItem:
    """All but the attributes at `paths`."""
    for path in paths:
        item = _removed(item, path)
    return item


def _removed(item: RawItem, path: tuple[str, ...]) -> RawItem:
    name, rest = path[0], path[1:]
    value = item.get(name)
    if value is None:
        return item
    if not rest:
        return {other: content for other, content in item.items() if other != name}
    if isinstance(value, dict) and isinstance(value.get("M"), dict):
        return {**item, name: {"M": _removed(value["M"], rest)}}
    return item


def rename(document: dict[str, Any], path: tuple[str, ...], name: str) -> None:
    """Give the field at `path`, if it is there, the name `name` within its map.

    Raises:
        Reject: the map has a field of that name.
    """
    for parent in path[:-1]:
        inner = document.get(parent)
        if not isinstance(inner, dict):
            return
        document = inner
    if path[-1] not in document:
        return
    if name in document:
        raise Reject(f"the field {name!r} is there already: {'.'.join(path)} can't be renamed to it")
    document[name] = document.pop(path[-1])


def refused_name(document: Mapping[str, Any], *, top: bool = True) -> str | None:
    """A field name that OpenSearch refuses, if the document has one ("Metadata fields"; names with misplaced dots)."""
    for name, value in document.items():
        if (top and name in METADATA_FIELDS) or _is_misshapen(name):
            return name
        if (found := _refused_within(value)) is not None:
            return found
    return None


def fields_with_refused_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The document's own fields that have a name OpenSearch refuses, or hold one."""
    return tuple(name for name, value in document.items() if refused_name({name: value}) is not None)


def _refused_within(value: Any) -> str | None:
    if isinstance(value, dict):
        return refused_name(value, top=False)
    for inner in value if isinstance(value, list) else ():
        if (found := _refused_within(inner)) is not None:
            return found
    return None


def _is_misshapen(name: str) -> bool:
    """Is it blank, or has it an empty or a blank part between its dots? Dots at its end do not count, as in Java."""
    if not name.strip(_BLANKS):
        return True
    if len(name) > MAX_NAME_CHARACTERS:
        return True
    return "." in name and any(not part.strip(_BLANKS) for part in name.rstrip(".").split("."))


_BLANKS = " \t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\u1680\u2028\u2029\u205f\u3000" + "".join(
    chr(code) for code in range(0x2000, 0x200B) if code != 0x2007
)
"""The characters that are blanks to Java (`Character.isWhitespace`)."""
MAX_NAME_CHARACTERS = 50_000
"""OpenSearch reads no JSON with a longer name; DynamoDB's may have 64 KB."""
METADATA_FIELDS = frozenset(
    (
        "_id",
        "_index",
        "_source",
        "_routing",
        "_field_names",
        "_ignored",
        "_nested_path",
        "_seq_no",
        "_primary_term",
        "_version",
        "_data_stream_timestamp",
    )
)
"""OpenSearch's own fields, which no document may have at its top."""
