"""Bodies: the settings and mappings that an index is made with."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD, TOMBSTONE_FIELD

__all__ = ["ASIDE_PROPERTIES", "GC_DELETES_SECONDS", "body_digest", "index_body"]


GC_DELETES_SECONDS = 20 * 60
"""How long our indices remember the version of a deleted document: longer than a Lambda invocation can live and than
a consumer can hold a request. Not longer, since remembered deletes live in OpenSearch's heap."""


_LONGEST_KEYWORD = 8191
"""Characters that a term may have: four bytes each stay below Lucene's 32766."""
_KEYWORD = {"type": "keyword", "ignore_above": _LONGEST_KEYWORD}
_NUMBER = {"type": "double", "ignore_malformed": True, "fields": {"exact": _KEYWORD}}
_TEXT = {"type": "text", "fields": {"keyword": _KEYWORD}}
_BOOLEAN = _KEYWORD
"""A field of type `boolean` refuses all but true and false, and knows no `ignore_malformed`; a keyword takes any
scalar, and `{"term": {"active": true}}` finds it."""

ASIDE_PROPERTIES: dict[str, Any] = {
    ASIDE_FIELD: {"type": "object", "enabled": False},
    ASIDE_NAMES_FIELD: {"type": "keyword", "ignore_above": _LONGEST_KEYWORD},
}
"""The fields that hold what an index refuses, as an index mapping has them."""

_MAPPING_LIMITS = {
    "total_fields": {"limit": 5000},
    "depth": {"limit": 100},
    "nested_fields": {"limit": 500},
    "nested_objects": {"limit": 100_000},
}
"""OpenSearch's own are 1000 fields, which maps that are keyed by ids reach soon; 20 levels, where DynamoDB has 32; 50
nested fields and 10000 nested objects of a document."""


def index_body(body: Mapping[str, Any], *, tombstones: bool = False) -> dict[str, Any]:
    """The body an index is made with: `body` of the mapping merged over our defaults.

    Every number keeps its digits in `_source` and in an exact keyword, whatever a double can hold; an attribute that
    is a number or a boolean here and a string there is stored all the same.
    """
    properties = {**({TOMBSTONE_FIELD: {"type": "date"}} if tombstones else {}), **ASIDE_PROPERTIES}
    default = {
        "settings": {"index": {"gc_deletes": f"{GC_DELETES_SECONDS}s", "mapping": _MAPPING_LIMITS}},
        "mappings": {
            "date_detection": False,
            "numeric_detection": False,
            "dynamic_templates": [
                {"whole": {"match_mapping_type": "long", "mapping": _NUMBER}},
                {"fraction": {"match_mapping_type": "double", "mapping": _NUMBER}},
                {"text": {"match_mapping_type": "string", "mapping": _TEXT}},
                {"truth": {"match_mapping_type": "boolean", "mapping": _BOOLEAN}},
            ],
            "properties": properties,
        },
    }
    merged = _merged(default, {**body, "settings": _nested(body.get("settings", {}))})
    meta = {**merged["mappings"].get("_meta", {}), "cdc": {"format": 1, "body": body_digest(body), "tables": {}}}
    return {**merged, "mappings": {**merged["mappings"], "_meta": meta}}


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings written `index.mapping.depth.limit` or nested as OpenSearch's nested ones, so that ours are replaced."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        parts = name.removeprefix("index.").split(".")
        deep: Any = value
        if isinstance(value, Mapping) and parts in (["index"], ["mapping"]):
            deep = _nested(value)["index"]
        for part in reversed([] if parts == ["index"] else parts):
            deep = {part: deep}
        nested = _merged(nested, deep)
    return {"index": nested}


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def body_digest(body: Mapping[str, Any]) -> str:
    """16 hex digits that stand for a body."""
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]
