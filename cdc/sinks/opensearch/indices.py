"""Indices: found as they are, or made as `<name>-v1` behind the alias `<name>` that people search."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cdc.causes import KINDS, CauseKind
from cdc.duration import parse_seconds
from cdc.errors import SinkMisconfigured, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.sinks.opensearch.admission import OnChangedMapping, admit, first_memory, say_left
from cdc.sinks.opensearch.memory import Memory
from cdc.sinks.opensearch.tombstones import ALIVE, hide_tombstones

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.records.stream import Stream

from cdc.sinks.opensearch.bodies import GC_DELETES_SECONDS, body_digest, index_body
from cdc.sinks.opensearch.targets import Targets

__all__ = ["prepare"]

log = logging.getLogger(__name__)


def prepare(
    client: OpenSearch,
    compiled: CompiledMapping,
    stream: Stream,
    targets: Targets,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    *,
    remember: bool = True,
    on_changed_mapping: OnChangedMapping = "refuse",
) -> None:
    """Find or make every index that the table's documents go to, noted in `targets`; have each remember `stream` and
    the mapping.

    Args:
        remember: False where a few late changes are written whose source the index need not know.
        on_changed_mapping: `accept` goes on where documents of an earlier mapping are left behind.

    Raises:
        ConfigError: an index holds what `stream` would rank below, documents that another table's items could
            share, or documents that the mapping would leave behind.
        SinkMisconfigured: an index can't be made or used; a retry cannot help.
        SinkUnavailable: OpenSearch is out of reach.
    """
    from opensearchpy.exceptions import OpenSearchException

    moved = False
    for index, body in compiled.bodies.items():
        try:
            made = False
            if not targets.knows(index):
                full = index_body(body, tombstones=index in compiled.tombstoned)
                if remember:
                    full["mappings"]["_meta"]["cdc"].update(first_memory(compiled, stream, index, now()))
                aliased, made = _find_or_make(client, index, body, full, tombstones=index in compiled.tombstoned)
                targets.add(index, aliased=aliased)
            if remember:
                moved |= made or admit(client, compiled, index, stream, now, sleep, on_changed_mapping)
        except OpenSearchException as error:
            status = getattr(error, "status_code", None)
            blocked = getattr(error, "error", "") == "cluster_block_exception"  # somebody's block is lifted again
            if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429) and not blocked:
                raise SinkMisconfigured(
                    "opensearch",
                    f"the index {index} can't be used: {status} {error!s:.500}",
                    remedy=_remedy(status, compiled.mapping.source),
                ) from error
            if blocked:
                raise SinkUnavailable(
                    "opensearch",
                    f"the index {index} is blocked: {error!s:.200}",
                    remedy=KINDS[CauseKind.INDEX_UNAVAILABLE].remedy,
                    kind=CauseKind.INDEX_UNAVAILABLE,
                ) from error
            raise SinkUnavailable(
                "opensearch",
                f"it does not answer while the index {index} is looked up: {type(error).__name__} {error!s:.200}",
                remedy="Check the endpoint of OpenSearch, and that the cluster is up.",
                kind=CauseKind.OUT_OF_REACH,
            ) from error
    if moved:
        say_left(client, compiled, stream)


def _remedy(status: int, source: str) -> str:
    if status in (401, 403):
        return "Allow this user or role to read and create the index, or check CDC_OPENSEARCH_AUTH and its credentials."
    return f"Check `index` and `body` in {source}."


def _find_or_make(
    client: OpenSearch, index: str, body: Mapping[str, Any], full: dict[str, Any], *, tombstones: bool
) -> tuple[bool, bool]:
    """Is it an alias, and was it made now?"""
    aliased = bool(client.indices.exists_alias(name=index))
    if aliased or client.indices.exists(index=index):
        _warn(client, index, body)
        if tombstones:
            hide_tombstones(client, index, aliased=aliased)
        return aliased, False
    full["aliases"] = {**full.get("aliases", {}), index: ALIVE if tombstones else {}}
    from opensearchpy.exceptions import RequestError

    try:
        client.indices.create(index=f"{index}-v1", body=full)
    except RequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
        if not client.indices.exists_alias(name=index):  # else another consumer has made it meanwhile
            raise SinkMisconfigured(
                "opensearch",
                f"the index {index}-v1 is there, and its alias {index} is gone",
                remedy=f"Give {index}-v1 the alias {index} again, or remove it.",
            ) from error
        return True, False
    log.info(
        "made the index %s-v1 behind the alias %s: it gets the changes that the stream has (24 hours), and no item "
        "that was written before and does not change",
        index,
        index,
    )
    return True, True


def _warn(client: OpenSearch, index: str, body: Mapping[str, Any]) -> None:
    """Say what of an existing index weakens the promise; nothing of it is changed."""
    for concrete, state in client.indices.get(index=index, params={"flat_settings": "true"}).items():
        settings = state.get("settings", {})
        if parse_seconds(settings.get("index.gc_deletes", "60s")) < GC_DELETES_SECONDS:
            log.warning(
                "%s forgets deletes after %s: set index.gc_deletes to %ds",
                concrete,
                settings.get("index.gc_deletes", "60s"),
                GC_DELETES_SECONDS,
            )
        if settings.get("index.translog.durability", "request").lower() == "async":
            log.warning("%s may lose acknowledged writes: set index.translog.durability to request", concrete)
        memory = Memory(concrete, state.get("mappings", {}))
        if memory.body not in (None, body_digest(body)) and memory.rebuild is None:
            log.warning(
                "the mapping's body for %s has changed since %s was made; to use it, build the index anew: "
                "cdc rebuild --index %s",
                index,
                concrete,
                index,
            )
