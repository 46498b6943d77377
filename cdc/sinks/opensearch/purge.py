"""Tombstones: documents that say that there is none, at the version of the delete; hidden by the alias, purged later.

OpenSearch forgets the version of a deleted document after a while; a tombstone is remembered until it is purged.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.memory import Memory

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["STREAM_RETENTION", "purge"]

STREAM_RETENTION = timedelta(hours=24)
"""How long a stream may still deliver an older change of a deleted item."""

_PAGE = 1000


def purge(
    client: OpenSearch,
    index: str,
    older_than: timedelta,
    now: datetime,
    *,
    force: bool = False,
    retention: timedelta | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Remove the tombstones of `index` (a concrete index, or an alias: every index behind it) that are older than
    `older_than`, each only at the version that was seen; return how many. A document made anew meanwhile stays. While
    the index is rebuilt those of all its members are removed.

    `retention`: how long the source remembers changes; a DynamoDB stream does for 24 hours, a Kinesis data stream for
    up to 365 days ("Amazon Kinesis Data Streams Developer Guide: Change the data retention period").

    Raises:
        ConfigError: `older_than` is less than the source remembers, and it is not forced; the index was fed by
            Kinesis, and `retention` is not given; or there is no such index.
        SinkUnavailable: OpenSearch does not answer.
    """
    remembered = retention or STREAM_RETENTION
    if older_than < remembered and not force:
        hours = remembered.total_seconds() / 3600
        raise ConfigError(
            f"tombstones younger than {hours:.0f} hours are still needed: "
            "a stream may deliver an older change until then, and it would bring the item back",
            remedy=f"Purge what is older than {hours + 1:.0f}h, or add --force if every stream is disabled and read to "
            "its end.",
        )
    from opensearchpy.exceptions import NotFoundError, OpenSearchException

    removed = 0
    try:
        for concrete, state in _with_members(client, index).items():
            if retention is None and not force and _is_fed_by_kinesis(state):
                raise ConfigError(
                    f"{concrete} is fed by Kinesis, which may deliver an older change for longer than 24 hours",
                    remedy="Say how long the data stream keeps its records: --retention 7d.",
                )
            # what is removed, or made anew meanwhile, is no tombstone at the next look
            while count := _remove(client, concrete, _oldest(client, concrete, now - older_than)):
                removed += count
                progress(removed)
    except NotFoundError as error:
        raise ConfigError(f"there is no index {index}", remedy="`cdc mappings check` shows the indices.") from error
    except OpenSearchException as error:
        raise SinkUnavailable(
            "opensearch",
            f"{removed} tombstones were removed, then it did not answer: {type(error).__name__}",
            remedy="Run it again: what is removed stays so.",
        ) from error
    return removed


def _with_members(client: OpenSearch, index: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = client.indices.get_mapping(index=index)
    memories = [Memory(concrete, state.get("mappings", {})) for concrete, state in found.items()]
    others = {member for memory in memories for member in memory.members} - found.keys()
    if others:
        beside = {"ignore_unavailable": "true"}
        found = {**found, **client.indices.get_mapping(index=",".join(sorted(others)), params=beside)}
    return found


def _is_fed_by_kinesis(state: dict[str, Any]) -> bool:
    tables = state.get("mappings", {}).get("_meta", {}).get("cdc", {}).get("tables", {})
    return any(source.get("kinesis") for source in tables.values())


def _oldest(client: OpenSearch, concrete: str, before: datetime) -> list[dict[str, Any]]:
    client.indices.refresh(index=concrete)
    body: dict[str, Any] = {
        "query": {"range": {TOMBSTONE_FIELD: {"lt": before.isoformat()}}},
        "size": _PAGE,
        "version": True,
        "_source": False,
    }
    hits: list[dict[str, Any]] = client.search(index=concrete, body=body)["hits"]["hits"]
    return hits


def _remove(client: OpenSearch, concrete: str, hits: list[dict[str, Any]]) -> int:
    if not hits:
        return 0
    lines = [
        orjson.dumps(
            {
                "delete": {
                    "_index": concrete,
                    "_id": hit["_id"],
                    **({"routing": hit["_routing"]} if "_routing" in hit else {}),
                    "version": hit["_version"],
                    "version_type": "external_gte",
                }
            }
        )
        for hit in hits
    ]
    statuses = [item["delete"]["status"] for item in client.bulk(body=b"\n".join(lines) + b"\n")["items"]]
    refused = [status for status in statuses if status not in (200, 404, 409)]  # gone already, or made anew
    if refused:
        raise SinkUnavailable(
            "opensearch",
            f"{len(refused)} of {len(statuses)} tombstones of {concrete} could not be removed: {refused[0]}",
            remedy="Run it again: what is removed stays so.",
        )
    return statuses.count(200)
