"""The shape of a mapping file: every fault of names and types, in our own words, where msgspec would stop at the first.

What is at fault is left out of the tree, so that what the rest means can be checked in the same run.
"""

from __future__ import annotations

import difflib
import re
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import inspect

from cdc.mappings.model import ArchiveRule, DocumentRule, FieldRule, TableMapping
from cdc.mappings.text import Fault, Place

__all__ = ["kind_of", "sound_part"]

_MISSING: Any = object()
_STAND_INS: dict[type, dict[str, Any]] = {TableMapping: {"table": ""}, DocumentRule: {"index": "unnamed"}}
"""The values of required fields that are at fault."""
_NAMED = {
    DocumentRule: "a map of index, where, fields …",
    FieldRule: "a map of include, exclude and rename",
    ArchiveRule: "a map such as {exclude: [attribute]}",
    TableMapping: "a map of table, documents and archive",
}


def sound_part(tree: Any) -> tuple[Any, list[Fault]]:
    """The tree without what is at fault, which makes a `TableMapping`, and every fault of names and types in it."""
    faults: list[Fault] = []
    if not isinstance(tree, dict):
        return dict(_STAND_INS[TableMapping]), [((), f"the file: is {_NAMED[TableMapping]}, not {kind_of(tree)}")]
    return _struct(tree, TableMapping, (), faults), faults


def kind_of(value: Any) -> str:
    """Name the kind of a value, for people: `a list`, `the text 'x'`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float() | Decimal():
            return f"the number {value}"
        case str():
            return f"the text {value!r}"
        case list():
            return "a list"
        case dict():
            return "a map"
    return f"the {type(value).__name__} {value}"


def _struct(tree: dict[Any, Any], kind: Any, place: Place, faults: list[Fault]) -> dict[str, Any]:
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name != "source"}
    sound: dict[str, Any] = {}
    for name, value in tree.items():
        here = (*place, str(name))
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            faults.append((here, f"unknown field; {hint}"))
            continue
        kept = _value(value, inspect.type_info(fields[name].type), here, faults)
        if kept is not _MISSING:
            sound[name] = kept
    faults += [((*place, name), "is missing") for name, field in fields.items() if field.required and name not in tree]
    return {**{name: value for name, value in _STAND_INS.get(kind, {}).items() if name not in sound}, **sound}


def _value(value: Any, kind: inspect.Type, place: Place, faults: list[Fault]) -> Any:
    """The value, or as much of it as is of its kind."""
    match kind:
        case inspect.AnyType():
            return value
        case inspect.StrType():
            return value if isinstance(value, str) else _refused(place, _no_text(value), faults)
        case inspect.LiteralType():
            allowed = f"{_shown(value)} is none of {', '.join(map(str, kind.values))}"
            return value if isinstance(value, str) and value in kind.values else _refused(place, allowed, faults)
        case inspect.VarTupleType():
            return _list(value, kind.item_type, place, faults)
        case inspect.DictType():
            if not isinstance(value, dict):
                return _refused(place, f"is a map of names, not {kind_of(value)}", faults)
            return _map(value, kind.value_type, place, faults)
        case inspect.StructType():
            if not isinstance(value, dict):
                _refused(place, f"is {_NAMED[kind.cls]}, not {kind_of(value)}", faults)
                return dict(_STAND_INS[kind.cls]) if kind.cls in _STAND_INS else _MISSING
            return _struct(value, kind.cls, place, faults)
        case inspect.UnionType():
            return _union(value, kind, place, faults)
    return value


def _union(value: Any, kind: inspect.UnionType, place: Place, faults: list[Fault]) -> Any:
    """Something or nothing; or true, false or a map."""
    if value is None and kind.includes_none:
        return value
    others = [one for one in kind.types if not isinstance(one, inspect.NoneType | inspect.BoolType)]
    if len(others) == len(kind.types) or kind.includes_none:
        return _value(value, others[0], place, faults)
    if isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return _value(value, others[0], place, faults)
    return _refused(place, f"is true, false or {{exclude: [attribute]}}, not {kind_of(value)}", faults)


def _list(value: Any, kind: inspect.Type, place: Place, faults: list[Fault]) -> Any:
    if not isinstance(value, list):
        hint = f"; write [{value}]" if isinstance(value, str) else ""
        return _refused(place, f"is a list, not {kind_of(value)}{hint}", faults)
    found = [_value(entry, kind, (*place, position), faults) for position, entry in enumerate(value)]
    return [entry for entry in found if entry is not _MISSING]


def _map(value: dict[Any, Any], kind: inspect.Type, place: Place, faults: list[Fault]) -> Any:
    sound: dict[str, Any] = {}
    for name, inner in value.items():
        if not isinstance(name, str):
            faults.append(((*place, str(name)), f"the name is {kind_of(name)}; put it in quotes"))
            continue
        kept = _value(inner, kind, (*place, name), faults)
        if kept is not _MISSING:
            sound[name] = kept
    return sound


def _no_text(value: Any) -> str:
    if isinstance(value, list | dict | None):
        return f"is a text, not {kind_of(value)}"
    return f"is a text, not {kind_of(value)}; put it in quotes"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else re.sub("^the ", "", kind_of(value))


def _refused(place: Place, text: str, faults: list[Fault]) -> Any:
    faults.append((place, text))
    return _MISSING
