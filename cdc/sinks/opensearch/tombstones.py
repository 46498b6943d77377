"""Tombstones: documents that stand for removed items, hidden by their alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from cdc.errors import SinkMisconfigured
from cdc.mappings.model import TOMBSTONE_FIELD

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["ALIVE", "hide_tombstones"]


ALIVE: dict[str, Any] = {"filter": {"bool": {"must_not": {"exists": {"field": TOMBSTONE_FIELD}}}}}
"""The filter of an alias: searches through it leave tombstones out."""


def hide_tombstones(client: OpenSearch, index: str, *, aliased: bool) -> None:
    """See to it that an index that was there already can hold tombstones, and that its alias hides them.

    Raises:
        SinkMisconfigured: it is no alias, or its alias shows them.
    """
    if not aliased:
        raise SinkMisconfigured(
            "opensearch",
            f"{index} is an index, and tombstones can be hidden by an alias only",
            remedy="Search through an alias with this filter, and name it in the mapping: "
            + orjson.dumps(ALIVE["filter"]).decode(),
        )
    for concrete, state in client.indices.get_alias(name=index).items():
        found = state["aliases"][index].get("filter", {})
        if not _hides(found):
            raise SinkMisconfigured(
                "opensearch",
                f"the alias {index} of {concrete} would show tombstones",
                remedy="Give it this filter, joined with its own: " + orjson.dumps(ALIVE["filter"]).decode(),
            )
        known = client.indices.get_mapping(index=concrete)[concrete]["mappings"].get("properties", {})
        if known.get(TOMBSTONE_FIELD) != {"type": "date"}:
            client.indices.put_mapping(index=concrete, body={"properties": {TOMBSTONE_FIELD: {"type": "date"}}})


def _hides(found: Any) -> bool:
    """Does the filter say, somewhere at its top, that there must be no tombstone?"""
    clauses = found.get("bool", {}) if isinstance(found, dict) else {}
    nots = clauses.get("must_not", [])
    return any(
        clause.get("exists", {}).get("field") == TOMBSTONE_FIELD
        for clause in (nots if isinstance(nots, list) else [nots])
    )
