"""Answers: whose fault an error of OpenSearch is, by its type, or else by its status. The one table of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cdc.causes import Cause, CauseKind
from cdc.outcome import Deferred, Rejected

__all__ = ["ANSWERS", "STATUSES", "Doubtful", "Meaning", "Whose", "meaning_of"]


class Whose(StrEnum):
    """The party that an error says something of."""

    DOCUMENT = "the document"
    """It is set aside in part, or becomes a dead letter."""
    INDEX = "the index"
    """Deferred until somebody mends it."""
    REQUEST = "the request"
    """The request is halved until the operation that spoils it stands alone; that one is rejected."""
    TIME = "the time"
    """Deferred: it passes by itself."""
    UNKNOWN = "unknown"
    """Deferred; rejected if it comes again while it is sent alone."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of an answer: whose fault it is, and the kind of cause."""

    whose: Whose
    kind: CauseKind


@dataclass(frozen=True, slots=True)
class Doubtful(Deferred):
    """An answer that nobody has told us the meaning of. `detail` is OpenSearch's error; it may quote values."""

    detail: str = ""

    def rejected(self) -> Rejected:
        """The same as a rejection."""
        return Rejected(Cause(self.cause.text, CauseKind.UNKNOWN_REFUSED, self.cause.code), self.detail)


_DOCUMENT = Meaning(Whose.DOCUMENT, CauseKind.DOCUMENT_REFUSED)
_INDEX = Meaning(Whose.INDEX, CauseKind.INDEX_UNAVAILABLE)
_REQUEST = Meaning(Whose.REQUEST, CauseKind.REQUEST_REFUSED)
_BUSY = Meaning(Whose.TIME, CauseKind.OVERLOADED)
_AWAY = Meaning(Whose.TIME, CauseKind.INDEX_UNAVAILABLE)
_OUT_OF_REACH = Meaning(Whose.TIME, CauseKind.OUT_OF_REACH)
_UNKNOWN = Meaning(Whose.UNKNOWN, CauseKind.UNKNOWN_ANSWER)

ANSWERS: Mapping[str, Meaning] = {
    "mapper_parsing_exception": _DOCUMENT,
    "document_parsing_exception": _DOCUMENT,
    "strict_dynamic_mapping_exception": _DOCUMENT,
    "parse_exception": _DOCUMENT,
    "parsing_exception": _DOCUMENT,
    "x_content_parse_exception": _DOCUMENT,
    "json_parse_exception": _DOCUMENT,
    "stream_constraints_exception": _DOCUMENT,
    "illegal_argument_exception": _DOCUMENT,
    "index_not_found_exception": _INDEX,
    "index_closed_exception": _INDEX,
    "cluster_block_exception": _INDEX,
    "security_exception": _INDEX,
    "invalid_index_name_exception": _INDEX,
    "invalid_alias_name_exception": _INDEX,
    "aliases_not_found_exception": _INDEX,
    "routing_missing_exception": _INDEX,
    "resource_not_found_exception": _INDEX,
    "illegal_index_shard_state_exception": _AWAY,
    "index_shard_closed_exception": _AWAY,
    "index_shard_not_started_exception": _AWAY,
    "unavailable_shards_exception": _AWAY,
    "no_shard_available_action_exception": _AWAY,
    "shard_not_found_exception": _AWAY,
    "shard_not_in_primary_mode_exception": _AWAY,
    "no_longer_primary_shard_exception": _AWAY,
    "retry_on_primary_exception": _AWAY,
    "already_closed_exception": _AWAY,
    "process_cluster_event_timeout_exception": _AWAY,
    "timeout_exception": _AWAY,
    "rejected_execution_exception": _BUSY,
    "circuit_breaking_exception": _BUSY,
    "task_cancelled_exception": _BUSY,
    "cluster_manager_not_discovered_exception": _OUT_OF_REACH,
    "master_not_discovered_exception": _OUT_OF_REACH,
    "node_closed_exception": _OUT_OF_REACH,
    "node_disconnected_exception": _OUT_OF_REACH,
    "node_not_connected_exception": _OUT_OF_REACH,
    "receive_timeout_transport_exception": _OUT_OF_REACH,
    "action_request_validation_exception": _REQUEST,
    "input_coercion_exception": _REQUEST,
}
"""Error types. A type of the document is believed only where the answer names the index behind the alias: a write that
went no further than the alias (several indices and none to write to, no ingest pipeline of that name) is no fault of
the document, whatever the type."""

STATUSES: Mapping[int, Meaning] = {
    401: _INDEX,
    403: _INDEX,
    404: _INDEX,
    408: _OUT_OF_REACH,
    409: _OUT_OF_REACH,
    413: _REQUEST,
    429: _BUSY,
}
"""Statuses, for types that `ANSWERS` has not. From 500 on it is the time."""

_NO_PIPELINE = re.compile(r"pipeline with id \[[^\]]*\] does not exist")
"""The one fault of an index that nothing but its sentence tells from a document's, where the write named the index."""


def meaning_of(status: int, error_type: str, reason: str = "", *, reached: bool | None = None) -> Meaning:
    """The meaning of an error.

    `reached`: did the write get to an index behind its alias? None if that can't be told.
    """
    found = ANSWERS.get(error_type)
    if status == 429:
        return _BUSY
    if found is None:
        found = STATUSES.get(status, _OUT_OF_REACH if status >= 500 else _UNKNOWN)
    if found.whose not in (Whose.DOCUMENT, Whose.UNKNOWN):
        return found
    if status in STATUSES and status != 413 and found.whose is Whose.DOCUMENT:
        return STATUSES[status]  # a type of the document with, say, 403: a plugin's or a proxy's word
    if status >= 500:
        return _OUT_OF_REACH
    if reached is False or _NO_PIPELINE.fullmatch(reason):
        return _INDEX
    return found
