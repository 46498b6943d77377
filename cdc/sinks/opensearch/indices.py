"""Indices: found as they are, or made as `<name>-v1` behind the alias `<name>` that people search."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from cdc.causes import CauseKind
from cdc.duration import seconds
from cdc.errors import SinkMisconfigured, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.provenance import admit
from cdc.sinks.opensearch.tombstones import ALIVE, hide_tombstones

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.records.sequence import Stream

__all__ = ["GC_DELETES_SECONDS", "Targets", "index_body", "prepare"]

log = logging.getLogger(__name__)

GC_DELETES_SECONDS = 20 * 60
"""How long our indices remember the version of a deleted document: longer than a Lambda invocation can live and than
a consumer can hold a request. Not longer, since remembered deletes live in OpenSearch's heap."""

_NUMBER = {"type": "double", "ignore_malformed": True, "fields": {"exact": {"type": "keyword"}}}
_TEXT = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 8191}}}


class Targets:
    """The indices that this process knows: which stand behind an alias, which have shown their versions."""

    def __init__(self, aliased: Mapping[str, bool] | None = None) -> None:
        self._aliased: dict[str, bool] = dict(aliased or {})
        self._verified: set[str] = set()
        self.version_ties: Counter[str] = Counter()

    def add(self, index: str, *, aliased: bool) -> None:
        """Note that `index` is there, and whether it is an alias."""
        self._aliased[index] = aliased

    def knows(self, index: str) -> bool:
        """Was it found or made by this process?"""
        return index in self._aliased

    def require_alias(self, index: str) -> bool:
        """Must a write meet an alias? Then a vanished index is an error and never made up on the fly."""
        return self._aliased.get(index, True)

    def unverified(self, indices: Iterable[str]) -> frozenset[str]:
        """Those that have not yet shown that they honour external versions."""
        return frozenset(indices) - self._verified

    def verified(self, index: str) -> None:
        """It honours external versions."""
        self._verified.add(index)

    def tie(self, index: str) -> None:
        """Two records of one item have equal versions; counted in `version_ties`, said once."""
        if not self.version_ties[index]:
            log.warning("two records of one item have equal versions in %s: applied in the order of arrival", index)
        self.version_ties[index] += 1


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
    meta = {**merged["mappings"].get("_meta", {}), "cdc": {"format": 1, "body": _digest(body), "tables": {}}}
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


def _digest(body: Mapping[str, Any]) -> str:
    return sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()[:16]


def prepare(
    client: OpenSearch,
    compiled: CompiledMapping,
    stream: Stream,
    targets: Targets,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    *,
    remember: bool = True,
) -> None:
    """Find or make every index that the table's documents go to, noted in `targets`; have each remember `stream`.

    Without `remember` a few late changes are written whose source the index need not know.

    Raises:
        ConfigError: an index holds what `stream` would rank below.
        SinkMisconfigured: an index can't be made or used; a retry cannot help.
        SinkUnavailable: OpenSearch is out of reach.
    """
    from opensearchpy.exceptions import OpenSearchException

    for index, body in compiled.bodies.items():
        try:
            if not targets.knows(index):
                tombstones = index in compiled.tombstoned
                targets.add(index, aliased=_find_or_make(client, index, body, tombstones=tombstones))
            if remember:
                admit(client, index, stream, now, sleep)
        except OpenSearchException as error:
            status = getattr(error, "status_code", None)
            blocked = getattr(error, "error", "") == "cluster_block_exception"  # somebody's block is lifted again
            if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429) and not blocked:
                raise SinkMisconfigured(
                    "opensearch",
                    f"the index {index} can't be used: {status} {error!s:.500}",
                    remedy=_remedy(status, compiled.mapping.source),
                ) from error
            raise SinkUnavailable(
                "opensearch",
                f"it does not answer while the index {index} is looked up: {type(error).__name__} {error!s:.200}",
                remedy="Check the endpoint of OpenSearch, and that the cluster is up.",
                kind=CauseKind.OUT_OF_REACH,
            ) from error


def _remedy(status: int, source: str) -> str:
    if status in (401, 403):
        return "Allow this user or role to read and create the index, or check CDC_OPENSEARCH_AUTH and its credentials."
    return f"Check `index` and `body` in {source}."


def _find_or_make(client: OpenSearch, index: str, body: Mapping[str, Any], *, tombstones: bool) -> bool:
    aliased = bool(client.indices.exists_alias(name=index))
    if aliased or client.indices.exists(index=index):
        _warn(client, index, body)
        if tombstones:
            hide_tombstones(client, index, aliased=aliased)
        return aliased
    full = index_body(body, tombstones=tombstones)
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
    log.info("made the index %s-v1 behind the alias %s", index, index)
    return True


def _warn(client: OpenSearch, index: str, body: Mapping[str, Any]) -> None:
    """Say what of an existing index weakens the promise; nothing of it is changed."""
    for concrete, state in client.indices.get(index=index, params={"flat_settings": "true"}).items():
        settings = state.get("settings", {})
        if seconds(settings.get("index.gc_deletes", "60s")) < GC_DELETES_SECONDS:
            log.warning(
                "%s forgets deletes after %s: set index.gc_deletes to %ds",
                concrete,
                settings.get("index.gc_deletes", "60s"),
                GC_DELETES_SECONDS,
            )
        if settings.get("index.translog.durability", "request").lower() == "async":
            log.warning("%s may lose acknowledged writes: set index.translog.durability to request", concrete)
        made = state.get("mappings", {}).get("_meta", {}).get("cdc", {}).get("body")
        if made is not None and made != _digest(body):
            log.warning(
                "the mapping's body for %s has changed since %s was made; to use it, make a new index, fill it from "
                "the table and move the alias",
                index,
                concrete,
            )
