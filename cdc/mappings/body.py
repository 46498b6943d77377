"""Doubts about `body`: what OpenSearch would probably refuse. Only OpenSearch knows its plugins: no fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from cdc.mappings.fields import refused_name
from cdc.mappings.text import Fault, Place

__all__ = ["FIELD_TYPES", "doubts_of"]

_TYPES = """
    alias annotated_text binary boolean byte completion constant_keyword date date_nanos date_range derived double
    double_range flat_object float float_range geo_point geo_shape half_float icu_collation_keyword integer
    integer_range ip ip_range join keyword knn_vector long long_range match_only_text murmur3 nested object percolator
    rank_feature rank_features scaled_float search_as_you_type semantic short sparse_vector star_tree text token_count
    unsigned_long wildcard xy_point xy_shape
"""
FIELD_TYPES = frozenset(_TYPES.split())
"""OpenSearch's field types and those of its bundled plugins (OpenSearch documentation, "Supported field types")."""
_PARTS = ("settings", "mappings", "aliases")
_OF_OBJECTS = ("object", "nested", None)


def doubts_of(body: Mapping[str, Any]) -> Iterator[Fault]:
    """Find probable mistakes in the body of a document: unknown parts, field types that OpenSearch does not have."""
    for name in body:
        if name not in _PARTS:
            hint = "; write it below mappings" if name in ("properties", "dynamic", "dynamic_templates") else ""
            yield (name,), f"OpenSearch knows no such part; there are {', '.join(_PARTS)}{hint}"
    mappings = body.get("mappings")
    if isinstance(mappings, Mapping):
        yield from _properties(mappings, ("mappings",))
        yield from _templates(mappings.get("dynamic_templates"))


def _properties(holder: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    for part in ("properties", "fields"):
        fields = holder.get(part)
        if fields is None:
            continue
        if not isinstance(fields, Mapping):
            yield (*place, part), "is a map of fields"
            continue
        for name, field in fields.items():
            if refused_name({str(name): None}, top=place == ("mappings",)) is not None:
                yield (*place, part, name), f"{name!r} is no name of a field that OpenSearch takes"
            yield from _field(field, (*place, part, name))


def _field(field: Any, place: Place) -> Iterator[Fault]:
    if not isinstance(field, Mapping):
        hint = f"; write {{type: {field}}}" if isinstance(field, str) else ""
        yield place, f"is a map such as {{type: keyword}}{hint}"
        return
    kind = field.get("type")
    if kind is None and "properties" not in field:
        yield place, "has no type"
    elif kind is not None and kind not in FIELD_TYPES:
        near = difflib.get_close_matches(str(kind), FIELD_TYPES, n=1)
        yield (
            (*place, "type"),
            f"{kind!r} is no field type that OpenSearch has" + (f"; did you mean {near[0]}?" if near else ""),
        )
    elif kind not in _OF_OBJECTS and "properties" in field:
        yield (*place, "properties"), f"a field of type {kind} has no properties: type is object or nested"
    yield from _properties(field, place)


def _templates(templates: Any) -> Iterator[Fault]:
    for position, template in enumerate(templates if isinstance(templates, list) else ()):
        for name, rule in template.items() if isinstance(template, Mapping) else ():
            mapping = rule.get("mapping") if isinstance(rule, Mapping) else None
            if isinstance(mapping, Mapping) and "{" not in str(mapping.get("type", "{")):
                yield from _field(mapping, ("mappings", "dynamic_templates", position, name, "mapping"))
