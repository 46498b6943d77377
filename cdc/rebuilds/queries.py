"""Queries: recorded searches, read from a file, run on two indices, and their hits compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdc.errors import ConfigError, SinkUnavailable
from cdc.rebuilds.hits import FoundHits, Hit, SearchCompared, compared
from cdc.sinks.opensearch.tombstones import ALIVE

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.rebuilds.recorded import RecordedSearch

__all__ = ["compare_searches"]

_MORE = 100
"""So many hits more than are compared are asked for: hits of equal score come in any order, also at the last rank."""
_WINDOW = 10_000
"""OpenSearch documentation, "Index settings": index.max_result_window."""
_PASSING = (408, 429, 502, 503, 504)
_LONGEST_ERROR = 300


def compare_searches(
    client: OpenSearch,
    queries: Sequence[RecordedSearch],
    before: str,
    after: str,
    size: int = 10,
    *,
    hidden_by: Mapping[str, Any] | None = ALIVE["filter"],
    observe: Callable[[int], None] = lambda _searches: None,
) -> Sequence[SearchCompared]:
    """Run each search on both indices, and compare the first `size` hits, the totals and the aggregations.

    A search that one of them refuses is a finding. Hits are compared by their ids; hits of equal score, or of equal
    sort values, may stand in any order.

    Args:
        hidden_by: a filter that each search gets, as the alias that people search through has one; by default the one
            that leaves tombstones out.
        observe: is told how many searches were run.

    Raises:
        ConfigError: there is no such index, or it may not be searched.
        SinkUnavailable: OpenSearch is out of reach.
    """
    for index in (before, after):
        _refresh(client, index)
    found = []
    for number, query in enumerate(queries, 1):
        one, other = (_searched(client, index, query.body, size, hidden_by) for index in (before, after))
        result = compared(query.name, one, other, _shown(query.body, size))
        if result.ids_differ and not _of_other_ids(client, one, other, before, after):
            result = compared(query.name, one, other, _shown(query.body, size), by_id=True)
        found.append(result)
        observe(number)
    return found


def _refresh(client: OpenSearch, index: str) -> None:
    """Have both show whatever was written to them by now."""
    from opensearchpy.exceptions import AuthorizationException, OpenSearchException

    try:
        client.indices.refresh(index=index)
    except AuthorizationException:
        return  # a second at most is missing then
    except OpenSearchException as error:
        raise _passing(index, error) from error


def _shown(body: Mapping[str, Any], size: int) -> int:
    """How many hits are compared: of a search that wants fewer, so many."""
    own = body.get("size", size)
    return min(size, own) if isinstance(own, int) else size


def _searched(
    client: OpenSearch, index: str, body: Mapping[str, Any], size: int, hidden_by: Mapping[str, Any] | None
) -> FoundHits:
    from opensearchpy.exceptions import OpenSearchException

    try:
        answer = client.search(
            index=index, body=_asked(body, size, hidden_by), params={"allow_partial_search_results": "false"}
        )
    except OpenSearchException as error:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int) or status in (401, 403, 404, *_PASSING):
            raise _passing(index, error) from error
        return FoundHits(error=f"{status} {_reason(error)}"[:_LONGEST_ERROR])
    hits = answer["hits"]
    return FoundHits(
        hits=tuple(Hit(hit["_id"], _place(hit)) for hit in hits["hits"]),
        total=(hits.get("total") or {}).get("value", len(hits["hits"])),
        took=answer.get("took", 0),
        aggregations=answer.get("aggregations"),
    )


def _asked(body: Mapping[str, Any], size: int, hidden_by: Mapping[str, Any] | None) -> dict[str, Any]:
    """The search as it is sent: without contents, with all hits counted."""
    shown = _shown(body, size)
    first = body.get("from", 0)
    more = min(shown + _MORE, _WINDOW - first) if isinstance(first, int) and shown else shown
    asked = {**body, "size": max(shown, more), "_source": False, "track_total_hits": True}
    if hidden_by is not None:
        asked["query"] = {"bool": {"must": [body.get("query") or {"match_all": {}}], "filter": [hidden_by]}}
    return asked


def _place(hit: Mapping[str, Any]) -> Any:
    """The value that a hit has its rank by: hits that have it equal may stand in any order."""
    return hit["sort"] if "sort" in hit else hit.get("_score")


def _reason(error: Exception) -> str:
    info = getattr(error, "info", None)
    told = info.get("error") if isinstance(info, Mapping) else None
    causes = told.get("root_cause") if isinstance(told, Mapping) else None
    first = causes[0] if isinstance(causes, list) and causes and isinstance(causes[0], Mapping) else {}
    return f"{first.get('type', type(error).__name__)}: {first.get('reason', '')}".rstrip(": ")


def _passing(index: str, error: Exception) -> ConfigError | SinkUnavailable:
    status = getattr(error, "status_code", None)
    if status == 404:
        return ConfigError(f"there is no index {index}", remedy="Name two indices that are there.")
    if status in (401, 403):
        return ConfigError(
            f"the index {index} may not be searched: {status}", remedy="Allow this user or role to search it."
        )
    return SinkUnavailable(
        "opensearch",
        f"{index} can't be searched: {type(error).__name__} {status or ''}".rstrip(),
        remedy="Check the endpoint of OpenSearch, and that the cluster is up.",
    )


def _of_other_ids(client: OpenSearch, one: FoundHits, other: FoundHits, before: str, after: str) -> bool:
    """Are the hits of each side in the other index by no id?"""
    return not _knows(client, after, one) and not _knows(client, before, other)


def _knows(client: OpenSearch, index: str, found: FoundHits) -> bool:
    from opensearchpy.exceptions import OpenSearchException

    body = {"query": {"ids": {"values": [hit.id for hit in found.hits]}}, "size": 0, "terminate_after": 1}
    try:
        total: int = client.search(index=index, body=body)["hits"]["total"]["value"]
    except OpenSearchException as error:
        raise _passing(index, error) from error
    return total > 0
