"""Searches of the simulated OpenSearch: filtered, sorted, paged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cdc.testing.simulated._cluster import Cluster
from cdc.testing.simulated._index import Held
from cdc.testing.simulated._query import compile_query, field_values, sort_value
from cdc.testing.simulated._refusals import index_closed

__all__ = ["answer", "found", "hits_of"]

_SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}

Found = tuple[str, str, Held]
"""The index, the id and the document."""


def found(cluster: Cluster, names: str, query: Mapping[str, Any] | None) -> list[Found]:
    """The documents that a query finds, each alias showing what its filter lets through."""
    documents: list[Found] = []
    matches = compile_query(query)
    for index in cluster.resolve(names):
        if index.closed:
            raise index_closed(index.name)
        shows = compile_query(cluster.filter_of(names, index))
        documents += [
            (index.name, identifier, held)
            for identifier, held in index.documents.items()
            if shows(identifier, held.source) and matches(identifier, held.source)
        ]
    return documents


def hits_of(documents: list[Found], asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hits in the order asked for, those after `search_after`."""
    order = _order(asked.get("sort"))
    keyed = [([_key(field, entry) for field, _ in order], entry) for entry in documents]
    for position in reversed(range(len(order))):
        keyed.sort(key=lambda pair: _rank(pair[0][position]), reverse=order[position][1])
    after = asked.get("search_after")
    if after is not None:
        keyed = [(key, entry) for key, entry in keyed if _comes_after(key, after, order)]
    return [_hit(entry, key if order else None, asked) for key, entry in keyed]


def answer(hits: list[dict[str, Any]], total: int) -> dict[str, Any]:
    """The body of a search's answer."""
    return {
        "took": 0,
        "timed_out": False,
        "_shards": _SHARDS,
        "hits": {"total": {"value": total, "relation": "eq"}, "max_score": None, "hits": hits},
    }


def _order(sort: Any) -> list[tuple[str, bool]]:
    """The fields to sort by, each with: is it descending?"""
    fields: list[tuple[str, bool]] = []
    for entry in sort.split(",") if isinstance(sort, str) else sort or ():
        if isinstance(entry, Mapping):
            ((field, how),) = entry.items()
            fields.append((field, (how.get("order", "asc") if isinstance(how, Mapping) else how) == "desc"))
        else:
            field, _, how = entry.partition(":")
            fields.append((field, how == "desc"))
    return [entry for entry in fields if entry[0] not in ("_doc", "_score")]


def _key(field: str, entry: Found) -> Any:
    if field == "_id":
        return entry[1]
    values = field_values(entry[2].source, field)
    return sort_value(values[0]) if values else None


def _rank(value: Any) -> tuple[bool, Any]:
    return value is None, value if value is not None else 0


def _comes_after(key: list[Any], after: list[Any], order: list[tuple[str, bool]]) -> bool:
    for mine, theirs, (_, descending) in zip(key, after, order, strict=True):
        if mine != theirs:
            return (_rank(mine) > _rank(theirs)) != descending
    return False


def _hit(entry: Found, key: list[Any] | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    index, identifier, held = entry
    hit: dict[str, Any] = {"_index": index, "_id": identifier, "_score": None if key else 1.0}
    if held.routing is not None:
        hit["_routing"] = held.routing
    if str(asked.get("version", "false")).lower() == "true":
        hit["_version"] = held.version
    if str(asked.get("_source", "true")).lower() != "false":
        hit["_source"] = json.loads(held.text)  # as the client parses it: numbers with a point are floats
    if key is not None:
        hit["sort"] = key
    return hit
