"""Bulk requests: their bytes, how they are cut, and what each answer means (OpenSearch documentation, "Bulk")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from cdc.causes import Cause, CauseKind
from cdc.mappings.writes import Put, Write
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Superseded

__all__ = ["action_bytes", "chunks", "request_failure", "verdict"]

_MAY_PASS = frozenset(
    {
        "index_not_found_exception",
        "index_closed_exception",
        "cluster_block_exception",
        "security_exception",
        "rejected_execution_exception",
        "circuit_breaking_exception",
        "unavailable_shards_exception",
        "process_cluster_event_timeout_exception",
        "timeout_exception",
    }
)
"""Error types that say something of the index or the cluster, never of the document."""
_OVERLOADED = frozenset({"rejected_execution_exception", "circuit_breaking_exception"})
_ERROR_TYPE = re.compile("[a-z][a-z_]{0,60}")


def action_bytes(write: Write, *, require_alias: bool) -> bytes:
    """The lines of one operation, each ended by a newline."""
    about: dict[str, Any] = {
        "_index": write.index,
        "_id": write.id,
        "version": write.version,
        "version_type": "external_gte",
    }
    if write.routing is not None:
        about["routing"] = write.routing
    if require_alias:
        about["require_alias"] = True
    if isinstance(write, Put):
        return orjson.dumps({"index": about}) + b"\n" + write.source + b"\n"
    return orjson.dumps({"delete": about}) + b"\n"


def chunks(sizes: Sequence[int], max_bytes: int, max_count: int) -> Iterator[slice]:
    """Cut operations of these sizes into requests of at most `max_bytes` and `max_count`, never less than one each."""
    start = total = 0
    for position, size in enumerate(sizes):
        if position > start and (total + size > max_bytes or position - start >= max_count):
            yield slice(start, position)
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))


def verdict(item: Mapping[str, Any]) -> Outcome:
    """The meaning of one item of a bulk response for its operation."""
    ((action, answer),) = item.items()
    status = int(answer.get("status", 0))
    error = answer.get("error")
    if error is None:
        if 200 <= status < 300 or (action == "delete" and status == 404):
            return Applied()  # a delete that finds nothing has still put its version on record
        cause = Cause(f"OpenSearch answered {status} without a reason", CauseKind.STRANGE_ANSWER, f"http_{status}")
        return Deferred(cause, 1.0)
    kind = str(error.get("type", "unknown")) if isinstance(error, Mapping) else "unknown"
    if status == 409 and kind == "version_conflict_engine_exception":
        return Superseded()
    if status in (401, 403, 408, 409, 429) or status >= 500 or kind in _MAY_PASS:
        return Deferred(Cause(f"OpenSearch: {status} {kind}", _deferred_kind(status, kind), kind))
    return Rejected(
        Cause(f"OpenSearch: {status} {kind}", CauseKind.DOCUMENT_REFUSED, kind), orjson.dumps(error).decode()
    )


def request_failure(error: Exception) -> Outcome:
    """The meaning of a request that failed as a whole, for all its operations; `Rejected` only where it may be split.

    `error` is one of opensearch-py's exceptions.
    """
    status = getattr(error, "status_code", None)
    kind = str(getattr(error, "error", "") or type(error).__name__)
    if status in (400, 413):
        return Rejected(
            Cause(f"OpenSearch: {status} {kind:.100}", CauseKind.DOCUMENT_REFUSED, _code(status, kind)), str(error)
        )
    if isinstance(status, int):
        return Deferred(Cause(f"OpenSearch: {status} {kind:.100}", _deferred_kind(status, kind), _code(status, kind)))
    return Deferred(Cause(f"OpenSearch is out of reach: {type(error).__name__}", CauseKind.OUT_OF_REACH))


def _deferred_kind(status: int, error_type: str) -> CauseKind:
    if status == 429 or error_type in _OVERLOADED:
        return CauseKind.OVERLOADED
    return CauseKind.INDEX_UNAVAILABLE if error_type in _MAY_PASS else CauseKind.OUT_OF_REACH


def _code(status: int, error_type: str) -> str:
    """OpenSearch's own error type; what else stands there (a page of a proxy) is no word to count by."""
    return error_type if _ERROR_TYPE.fullmatch(error_type) else f"http_{status}"
