"""Bulk requests: their bytes, how they are cut, and what each answer means (OpenSearch documentation, "Bulk")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from cdc.causes import Cause, CauseKind
from cdc.mappings.writes import Put, Write
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Superseded
from cdc.sinks.opensearch.answers import Doubtful, Whose, meaning_of
from cdc.sinks.opensearch.refusals import refusal_of

__all__ = ["action_bytes", "chunks", "none_spoils", "request_failure", "verdict"]

_WHOLE = "OpenSearch, of a whole request:"
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


def verdict(item: Mapping[str, Any], alias: str | None = None) -> Outcome:
    """The meaning of one item of a bulk response for its operation, which was sent to `alias`, if it is one.

    `Doubtful` where nobody knows whose fault an error is.
    """
    ((action, answer),) = item.items()
    status = int(answer.get("status", 0))
    error = answer.get("error")
    if error is None:
        if 200 <= status < 300 or (action == "delete" and status == 404):
            return Applied()  # a delete that finds nothing has still put its version on record
        cause = Cause(f"OpenSearch answered {status} without a reason", CauseKind.STRANGE_ANSWER, f"http_{status}")
        return Deferred(cause, 1.0)
    kind, reason = "unknown", ""
    if isinstance(error, Mapping):
        kind, reason = str(error.get("type", kind)), str(error.get("reason", reason))
    if status == 409 and kind == "version_conflict_engine_exception":
        return Superseded()
    index = answer.get("_index")
    reached = None if alias is None or index is None else index != alias
    meaning = meaning_of(status, kind, reason, reached=reached)
    cause = Cause(f"OpenSearch: {status} {kind:.100}", meaning.kind, _code(status, kind))
    match meaning.whose:
        case Whose.DOCUMENT | Whose.REQUEST:
            detail = orjson.dumps(error).decode()
            return Rejected(cause, detail, problem=str(refusal_of(detail)))
        case Whose.UNKNOWN:
            return Doubtful(cause, 1.0, orjson.dumps(error).decode())
        case Whose.INDEX | Whose.TIME:
            return Deferred(cause)


def request_failure(error: Exception) -> Outcome:
    """The meaning of a request that failed as a whole, for all its operations; `Rejected` and `Doubtful` only where one
    of them may have spoilt it.

    `error` is one of opensearch-py's exceptions.
    """
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return Deferred(Cause(f"OpenSearch is out of reach: {type(error).__name__}", CauseKind.OUT_OF_REACH))
    info = getattr(error, "info", None)
    told = info.get("error") if isinstance(info, Mapping) else None
    kind = str(getattr(error, "error", "") or type(error).__name__)
    meaning = meaning_of(status, kind)
    cause = Cause(f"{_WHOLE} {status} {_code(status, kind)}", meaning.kind, _code(status, kind))
    if meaning.whose is Whose.REQUEST:
        return Rejected(cause, str(error))
    if meaning.whose in (Whose.INDEX, Whose.TIME):
        return Deferred(cause)
    if not isinstance(told, Mapping):
        text = f"OpenSearch's answer {status} is none of OpenSearch's own"
        return Deferred(Cause(text, CauseKind.STRANGE_ANSWER, f"http_{status}"), 1.0)
    return Doubtful(Cause(cause.text, CauseKind.UNKNOWN_ANSWER, cause.code), 1.0, str(error))


def none_spoils(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The outcomes of a request's operations. Where each of several failed as a request of its own, no operation spoilt
    it: they are deferred."""
    refused = [outcome for outcome in outcomes if isinstance(outcome, Doubtful | Rejected)]
    causes = {outcome.cause for outcome in refused}
    if len(outcomes) < 2 or len(refused) < len(outcomes) or len(causes) > 1:
        return outcomes
    (cause,) = causes
    if not cause.text.startswith(_WHOLE) or cause.code == "http_413":
        return outcomes
    return [Deferred(cause.under(CauseKind.STRANGE_ANSWER, "each of several requests fails"), 1.0)] * len(outcomes)


def _code(status: int, error_type: str) -> str:
    """OpenSearch's own error type; what else stands there (a page of a proxy) is no word to count by."""
    return error_type if _ERROR_TYPE.fullmatch(error_type) else f"http_{status}"
