"""Field types: two index mappings, compared path by path, and the settings that an index is made with for good."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

from cdc.mappings.model import RESERVED_FIELDS
from cdc.rebuilds.mapping_diff import TypeChange

__all__ = ["Types", "changed_settings", "changed_types", "named_paths", "types_of"]

_OURS = RESERVED_FIELDS | {"_cdc_turns"}
_LASTING = (
    "index.analysis.",
    "index.codec",
    "index.mapping.",
    "index.number_of_routing_shards",
    "index.number_of_shards",
    "index.routing_partition_size",
    "index.similarity.",
    "index.sort.",
)
"""Settings that matter to searches, or that an index keeps for its life."""

Types = Mapping[str, Mapping[str, Any]]
"""Fields by their paths, each with type and parameters."""


def types_of(mappings: Mapping[str, Any]) -> Types:
    """Each field of an index mapping at its dotted path, parts of multi-fields too, with type and parameters."""
    properties = mappings.get("properties", {})
    return dict(_types("", {name: one for name, one in properties.items() if name not in _OURS}))


def _types(above: str, properties: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, definition in properties.items():
        path = f"{above}{name}"
        inner = definition.get("properties", {})
        own = {key: value for key, value in definition.items() if key not in ("properties", "fields")}
        if own or not inner:
            yield path, {"type": "object", **own}
        yield from _types(f"{path}.", inner)
        yield from _types(f"{path}.", definition.get("fields", {}))


def named_paths(body: Mapping[str, Any]) -> Collection[str]:
    """The paths that a body itself gives a type."""
    return types_of(body.get("mappings", {})).keys()


def changed_types(before: Types, after: Types, paths: Collection[str]) -> Iterator[TypeChange]:
    """The fields at these paths whose definitions differ, in the order of their paths."""
    for path in sorted(paths):
        one, other = before.get(path), after.get(path)
        if one != other:
            yield TypeChange(path, _told(one, other), _told(other, one))


def _told(definition: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    if definition is None:
        return ""
    kind = str(definition["type"])
    if other is None or kind != other["type"]:
        return kind
    parameters = [f"{name} {_text(value)}" for name, value in sorted(definition.items()) if other.get(name) != value]
    return ", ".join([kind, *parameters])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def changed_settings(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[TypeChange]:
    """The lasting settings that differ; both flat, as `flat_settings` has them."""
    for name in sorted(before.keys() | after.keys()):
        if name.startswith(_LASTING) and before.get(name) != after.get(name):
            yield TypeChange(name, _text(before.get(name, "")), _text(after.get(name, "")))
