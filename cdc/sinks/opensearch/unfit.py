"""Unfit documents: which fields of one an index refuses, and the document with these set aside, whole and exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import orjson

from cdc.mappings.fields import MAX_NAME_CHARACTERS, fields_with_refused_names
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.mappings.writes import Put
from cdc.sinks.opensearch.refusals import refusal_of

__all__ = ["Attempt", "fields_at", "fits", "mapped_field"]

_read = json.JSONDecoder(parse_float=orjson.Fragment, parse_int=orjson.Fragment).decode
"""Reads JSON with every number as the text that it was."""

Properties = Mapping[str, Any]


@dataclass
class Attempt:
    """A document that the index refuses, and the fields of it that are set aside so far.

    Each `widen` sets more aside: the field that the refusal names, a few times; then all that does not fit what the
    index knows; then all but the keys; then all. So the last one holds nothing that an index could refuse.
    """

    original: Put
    aside: set[str] = field(default_factory=set)
    _step: int = 0

    @cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = _read(self.original.source.decode())
        return document

    @property
    def put(self) -> Put:
        """The write, with what is set aside in the field for that."""
        aside = {name: value for name, value in self._document.items() if name in self.aside}
        document = {name: value for name, value in self._document.items() if name not in self.aside}
        held: Any = aside
        if len(self.original.source) > MAX_NAME_CHARACTERS and _longest_name(aside) > MAX_NAME_CHARACTERS:
            held = orjson.dumps(aside).decode()  # no JSON that OpenSearch reads has such a name; a text may hold it
        document |= {ASIDE_FIELD: held, ASIDE_NAMES_FIELD: list(aside)}
        return msgspec.structs.replace(self.original, source=orjson.dumps(document), unfit=())

    def widen(self, detail: str, properties: Callable[[], Properties]) -> bool:
        """Set more aside, for the refusal that `detail` tells of; False if nothing is left. `properties` gives those of
        the index mapping."""
        while self._step < len(_STEPS):
            step = _STEPS[self._step]
            self._step += 1
            more = set(step(self._document, self.original, detail, properties)) - self.aside
            if more:
                self.aside |= more
                return True
        return False


_Step = Callable[[Mapping[str, Any], Put, str, Callable[[], Properties]], Iterable[str]]


def _misnamed(document: Mapping[str, Any], _put: Put, _detail: str, _of: Callable[[], Properties]) -> Iterable[str]:
    return fields_with_refused_names(document)


def _named(document: Mapping[str, Any], _put: Put, detail: str, _of: Callable[[], Properties]) -> Iterable[str]:
    return fields_at(document, refusal_of(detail).field)


def _unknown(
    document: Mapping[str, Any], _put: Put, _detail: str, properties: Callable[[], Properties]
) -> Iterable[str]:
    known = properties()
    return [name for name, value in document.items() if not fits(known, name, value)]


def _all_but_keys(document: Mapping[str, Any], put: Put, _detail: str, _of: Callable[[], Properties]) -> Iterable[str]:
    return document.keys() - set(put.keys)


def _all(document: Mapping[str, Any], _put: Put, _detail: str, _of: Callable[[], Properties]) -> Iterable[str]:
    return document.keys()


_STEPS: Sequence[_Step] = (_misnamed, *[_named] * 3, _unknown, *[_named] * 3, _all_but_keys, _all)


def fields_at(document: Mapping[str, Any], path: str) -> list[str]:
    """The document's own fields that a dotted path of OpenSearch's leads into; none if it leads nowhere in it.

    Names may have dots themselves, and a path may end in a part of a multi-field (`total.exact`), so several may fit.
    """
    near = [name for name in document if name and (path == name or path.startswith(f"{name}."))]
    leading = [name for name in near if _leads(document[name], path[len(name) + 1 :])]
    return leading or near


def _leads(value: Any, path: str) -> bool:
    if not path:
        return True
    if isinstance(value, list):
        return any(_leads(inner, path) for inner in value)
    if not isinstance(value, dict):
        return False
    return any(
        _leads(inner, path[len(name) + 1 :])
        for name, inner in value.items()
        if path == name or path.startswith(f"{name}.")
    )


_SCALAR_TYPES = """
    binary boolean byte constant_keyword date date_nanos double float half_float integer ip keyword long
    match_only_text murmur3 scaled_float search_as_you_type short text token_count unsigned_long wildcard
"""
_SCALARS = frozenset(_SCALAR_TYPES.split())
"""Field types that take no map."""


def fits(properties: Properties, name: str, value: Any) -> bool:
    """Does the index know the field and all within it, as what it is: a map, or a plain value?"""
    if value is None or value == []:
        return True
    mapped = mapped_field(properties, name)
    return mapped is not None and _takes(mapped, value)


def mapped_field(properties: Properties, name: str) -> Mapping[str, Any] | None:
    """The field at a dotted name, as the properties of an index mapping have it."""
    if name in properties:
        found: Mapping[str, Any] = properties[name]
        return found
    first, dot, rest = name.partition(".")
    inner = properties.get(first) if dot else None
    return None if inner is None else mapped_field(inner.get("properties", {}), rest)


def _takes(mapped: Mapping[str, Any], value: Any) -> bool:
    if value is None or mapped.get("enabled") is False:
        return True
    if isinstance(value, list):
        return all(_takes(mapped, inner) for inner in value)
    kind = mapped.get("type", "object")
    if isinstance(value, dict):
        if kind not in ("object", "nested"):
            return kind not in _SCALARS
        return all(fits(mapped.get("properties", {}), name, inner) for name, inner in value.items())
    return kind not in ("object", "nested")


def _longest_name(value: Any) -> int:
    if isinstance(value, list):
        return max(map(_longest_name, value), default=0)
    if isinstance(value, dict):
        return max((max(len(name), _longest_name(inner)) for name, inner in value.items()), default=0)
    return 0
