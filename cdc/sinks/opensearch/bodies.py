"""Bodies: the settings and mappings that an index is made with."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from cdc.mappings.model import TOMBSTONE_FIELD

__all__ = ["GC_DELETES_SECONDS", "body_digest", "index_body"]


GC_DELETES_SECONDS = 20 * 60
"""How long our indices remember the version of a deleted document: longer than a Lambda invocation can live and than
a consumer can hold a request. Not longer, since remembered deletes live in OpenSearch's heap."""


_NUMBER = {"type": "double", "ignore_malformed": True, "fields": {"exact": {"type": "keyword"}}}


_TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 8191}}}


def index_body(body: Mapping[str, Any], *, tombstones: bool = False) -> dict[str, Any]:
    """The body an index is made with: `body` of the mapping merged over our defaults.

    Every number keeps its digits in `_source` and in an exact keyword, whatever a double can hold; an attribute that
    is a number here and a string there is stored all the same.
    """
    properties: dict[str, Any] = {TOMBSTONE_FIELD: {"type": "date"}} if tombstones else {}
    default = {
        "settings": {"index": {"gc_deletes": f"{GC_DELETES_SECONDS}s"}},
        "mappings": {
            "date_detection": False,
            "numeric_detection": False,
            "dynamic_templates": [
                {"whole": {"match_mapping_type": "long", "mapping": _NUMBER}},
                {"fraction": {"match_mapping_type": "double", "mapping": _NUMBER}},
                {"text": {"match_mapping_type": "string", "mapping": _TEXT}},
            ],
            "properties": properties,
        },
    }
    merged = _merged(default, {**body, "settings": _nested(body.get("settings", {}))})
    meta = {**merged["mappings"].get("_meta", {}), "cdc": {"format": 1, "body": body_digest(body), "tables": {}}}
    return {**merged, "mappings": {**merged["mappings"], "_meta": meta}}


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings written `index.gc_deletes` or `gc_deletes` as OpenSearch's nested ones, so that ours are replaced."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "index" and isinstance(value, Mapping):
            nested.update(value)
        else:
            nested[name.removeprefix("index.")] = value
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
