"""Recorded searches: a file of them, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc.errors import ConfigError

__all__ = ["RecordedSearch", "read_searches"]

_OF_BODIES = """
    _source aggregations aggs collapse derived docvalue_fields explain ext fields from highlight indices_boost knn
    min_score pit post_filter profile query rescore script_fields search_after seq_no_primary_term size slice sort
    stats stored_fields suggest terminate_after timeout track_scores track_total_hits version
"""
_BODY = frozenset(_OF_BODIES.split())
"""Names in a search body (OpenSearch documentation, "Search")."""
_OF_HEADERS = """
    allow_no_indices allow_partial_search_results ccs_minimize_roundtrips expand_wildcards ignore_unavailable index
    preference request_cache routing search_type
"""
_HEADER = frozenset(_OF_HEADERS.split())
"""Names in the header line of a search (OpenSearch documentation, "Multi-search")."""
_REMEDY = (
    'A line is a search body ({"query": {…}, "size": 10}), that with a name ({"name": "…", "query": {…}}), or the '
    "header and then the body of _msearch."
)


@dataclass(frozen=True, slots=True)
class RecordedSearch:
    """A search body with a name for people; where the file has none: its place, such as `queries.ndjson:7`."""

    name: str
    body: Mapping[str, Any]


def read_searches(path: Path) -> Sequence[RecordedSearch]:
    """The searches of a file. Headers of `_msearch` are passed over: the searches are run on other indices.

    Raises:
        ConfigError: it can't be read, or holds none, or a line is no search; it names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        told = getattr(error, "strerror", None) or "it is no UTF-8"
        raise ConfigError(f"{path} can't be read: {told}", remedy="Name a file of searches.") from error
    found = list(_searches(path.name, text))
    if not found:
        raise ConfigError(f"{path} holds no search", remedy=_REMEDY)
    return found


def _searches(name: str, text: str) -> Iterator[RecordedSearch]:
    header = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        found = _object(place, line)
        if not header and found.keys() <= _HEADER:
            header = number
            continue
        header = 0
        yield _search(place, found)
    if header:
        raise ConfigError(f"{name}:{header}: a header of _msearch without a body behind it", remedy=_REMEDY)


def _object(place: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: no JSON: {error}", remedy=_REMEDY) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{place}: {type(found).__name__}, and no object", remedy=_REMEDY)
    return found


def _search(place: str, found: dict[str, Any]) -> RecordedSearch:
    name = found.pop("name", place)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place}: the name is no text", remedy=_REMEDY)
    query = found.get("query")
    # no query is called by a name of a body's, so this is a whole body under `query`
    if found.keys() == {"query"} and isinstance(query, dict) and query and query.keys() <= _BODY - {"knn"}:
        found = query
    strange = sorted(found.keys() - _BODY)
    if strange:
        raise ConfigError(f"{place}: {strange[0]!r} is no part of a search body", remedy=_REMEDY)
    if not isinstance(found.get("query", {}), dict):
        raise ConfigError(f"{place}: the query is no object", remedy=_REMEDY)
    return RecordedSearch(name, found)
