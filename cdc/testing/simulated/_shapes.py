"""Shapes in the simulated OpenSearch: which documents an index mapping refuses, and the fields that a new one adds."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from cdc.mappings.fields import refused_name

__all__ = ["ShapeRefused", "grown"]

Path = tuple[str, ...]
_OBJECTS = ("object", "nested")
_TEXTS = ("keyword", "text", "wildcard")
_WHOLE = ("long", "integer", "short", "byte")
_FRACTIONS = ("double", "float", "half_float", "scaled_float")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_LONGEST_TERM = 32766
_BY_DEFAULT: Mapping[str, Mapping[str, Any]] = {
    "long": {"type": "long"},
    "double": {"type": "float"},
    "boolean": {"type": "boolean"},
    "date": {"type": "date"},
    "string": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
}


class ShapeRefused(Exception):
    """An index does not take the document."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def grown(mappings: Mapping[str, Any], settings: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any] | None:
    """The index mapping with what the document adds to it, or None if that is nothing.

    Raises:
        ShapeRefused: as measured on OpenSearch 3.6, with the beginning of its sentence.
    """
    reading = _Reading(mappings, int(settings.get("index.mapping.depth.limit", 20)))
    reading.object(mappings, source, ())
    if reading.conflict is not None:
        raise reading.conflict
    if not reading.added:
        return None
    found = copy.deepcopy(dict(mappings))
    for path, mapped in reading.added.items():
        _put(found, path, mapped)
    limit = int(settings.get("index.mapping.total_fields.limit", 1000))
    if sum(1 for _ in _fields(found)) > limit:
        raise ShapeRefused("illegal_argument_exception", f"Limit of total fields [{limit}] has been exceeded")
    return found


@dataclass
class _Reading:
    """A document that is read by a mapping; `added` are the fields that are new in it."""

    mappings: Mapping[str, Any]
    deepest: int
    added: dict[Path, Mapping[str, Any]] = field(default_factory=dict)
    conflict: ShapeRefused | None = None

    def object(self, mapped: Mapping[str, Any], value: Mapping[str, Any], path: Path) -> None:
        if len(path) > self.deepest:
            raise ShapeRefused("mapper_parsing_exception", "failed to parse")
        for name, inner in value.items():
            self._field(mapped, name, inner, path)

    def _field(self, mapped: Mapping[str, Any], name: str, value: Any, path: Path) -> None:
        if refused_name({name: None}, top=not path) is not None:
            raise ShapeRefused("mapper_parsing_exception", "failed to parse")
        *parents, last = [part for part in name.split(".") if part]
        for parent in parents:
            below = mapped.get("properties", {}).get(parent)
            path = (*path, parent)
            if below is None:
                self._add(path, {})
            elif not _is_object(below):
                raise ShapeRefused("mapper_parsing_exception", f"failed to parse field [{'.'.join(path)}] of type")
            mapped = below or {}
        self._value(mapped.get("properties", {}).get(last), mapped, value, (*path, last))

    def _value(self, known: Mapping[str, Any] | None, holder: Mapping[str, Any], value: Any, path: Path) -> None:
        if known is not None and known.get("enabled") is False:
            return
        if isinstance(value, list):
            for inner in value:
                self._value(known, holder, inner, path)
        elif known is not None:
            self._known(known, value, path)
        elif value is not None:
            self._new(holder, value, path)

    def _known(self, known: Mapping[str, Any], value: Any, path: Path) -> None:
        name = ".".join(path)
        if _is_object(known):
            if isinstance(value, dict):
                self.object(known, value, path)
            elif value is not None:
                raise ShapeRefused(
                    "mapper_parsing_exception",
                    f"object mapping for [{name}] tried to parse field [{path[-1]}] as object, but found a concrete "
                    "value",
                )
        elif value is not None and not _takes(known, value):
            kind = known["type"]
            reason = f"failed to parse field [{name}] of type [{kind}] in document"
            raise ShapeRefused("mapper_parsing_exception", reason)

    def _new(self, holder: Mapping[str, Any], value: Any, path: Path) -> None:
        dynamic = str(holder.get("dynamic", self.mappings.get("dynamic", "true"))).lower()
        if dynamic == "strict":
            raise ShapeRefused(
                "strict_dynamic_mapping_exception",
                f"mapping set to strict, dynamic introduction of [{path[-1]}] within [{'.'.join(path[:-1]) or '_doc'}]",
            )
        if dynamic == "false":
            return
        if isinstance(value, dict):
            self._add(path, {})
            self.object({}, value, path)
            return
        mapped = self._template(value)
        if not _takes(mapped, value):
            raise ShapeRefused(
                "mapper_parsing_exception", f"failed to parse field [{'.'.join(path)}] of type [{mapped['type']}]"
            )
        self._add(path, mapped)

    def _template(self, value: Any) -> Mapping[str, Any]:
        kind = _kind_of(value, dates=self.mappings.get("date_detection") is not False)
        for template in self.mappings.get("dynamic_templates", ()):
            for rule in template.values():
                if rule.get("match_mapping_type") in (kind, "*"):
                    mapping: Mapping[str, Any] = rule["mapping"]
                    return mapping
        return _BY_DEFAULT[kind]

    def _add(self, path: Path, mapped: Mapping[str, Any]) -> None:
        other = self.added.setdefault(path, mapped)
        if other is not mapped and self.conflict is None:
            self.conflict = self._conflict(path, other, mapped)

    def _conflict(self, path: Path, other: Mapping[str, Any], mapped: Mapping[str, Any]) -> ShapeRefused | None:
        """Fields that a document makes twice must be alike; that is looked at once all of it is read."""
        name = ".".join(path)
        if _is_object(other) != _is_object(mapped):
            reason = f"can't merge a non object mapping [{name}] with an object mapping"
        elif other.get("type") != mapped.get("type"):
            reason = f"mapper [{name}] cannot be changed from type [{other['type']}] to [{mapped['type']}]"
        else:
            return None
        return ShapeRefused("illegal_argument_exception", reason)


def _is_object(mapped: Mapping[str, Any]) -> bool:
    return mapped.get("type", "object") in _OBJECTS


def _kind_of(value: Any, *, dates: bool) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "long"
        case Decimal() | float():
            return "double"
    return "date" if dates and _DATE.fullmatch(value) else "string"


def _takes(mapped: Mapping[str, Any], value: Any) -> bool:
    """Does a field that is no object take the value?"""
    kind = mapped["type"]
    if isinstance(value, dict):
        return kind not in (*_TEXTS, *_WHOLE, *_FRACTIONS, "boolean", "date")
    if kind in _TEXTS:
        return kind == "text" or "ignore_above" in mapped or len(str(value).encode()) <= _LONGEST_TERM
    if mapped.get("ignore_malformed"):
        return all(_takes(below, value) for below in mapped.get("fields", {}).values())
    if kind == "boolean":
        return isinstance(value, bool) or (isinstance(value, str) and value in ("true", "false", ""))
    if kind == "date":
        return (isinstance(value, int) and not isinstance(value, bool)) or bool(_DATE.fullmatch(str(value)))
    if kind in (*_WHOLE, *_FRACTIONS):
        most = 19 if kind in _WHOLE else 400
        return not isinstance(value, bool) and bool(re.fullmatch(rf"-?\d{{1,{most}}}(\.\d+)?(E[+-]?\d+)?", str(value)))
    return True


def _put(mappings: dict[str, Any], path: Path, mapped: Mapping[str, Any]) -> None:
    for parent in path[:-1]:
        mappings = mappings.setdefault("properties", {}).setdefault(parent, {})
        if mappings.get("type") == "object" and "enabled" not in mappings:
            del mappings["type"]  # it is said of an object without properties only
    properties = mappings.setdefault("properties", {})
    if path[-1] not in properties:
        properties[path[-1]] = {"type": "object"} if _is_object(mapped) else copy.deepcopy(dict(mapped))


def _fields(mapped: Mapping[str, Any]) -> Iterator[str]:
    for part in ("properties", "fields"):
        for name, below in mapped.get(part, {}).items():
            yield name
            yield from _fields(below)
