"""Fields: which attributes of an item become fields of its document, and under what names.

Selecting works on DynamoDB JSON, so that what is left out is never decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdc.errors import Reject
from cdc.records.attributes import RawItem

__all__ = ["only", "refused_name", "rename", "without"]


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
        if (top and name in _METADATA) or not name or name.startswith(".") or ".." in name:
            return name
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict) and (found := refused_name(inner, top=False)) is not None:
                return found
    return None


_METADATA = frozenset(
    (
        "_id",
        "_index",
        "_source",
        "_routing",
        "_type",
        "_field_names",
        "_ignored",
        "_meta",
        "_nested_path",
        "_seq_no",
        "_primary_term",
        "_version",
        "_size",
        "_data_stream_timestamp",
    )
)
