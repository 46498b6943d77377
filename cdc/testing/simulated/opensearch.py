"""A simulated OpenSearch: what the sinks need of its client, with the behaviour and the failures of a real one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults
from cdc.testing.simulated import _search
from cdc.testing.simulated._bulk import Operation, Writer, failed, operations
from cdc.testing.simulated._cluster import Cluster
from cdc.testing.simulated._health import SimulatedHealth
from cdc.testing.simulated._index import Held, Written, exact
from cdc.testing.simulated._indices import SimulatedIndices
from cdc.testing.simulated._refusals import index_closed, no_connection, refused, timed_out

__all__ = ["SimulatedOpenSearch"]

_FAULTS = {
    "request 429": 2.0,
    "item 429": 3.0,
    "503": 2.0,
    "timeout, written": 2.0,
    "timeout, not written": 2.0,
    "timeout, written late": 1.0,
    "torn connection": 2.0,
    "garbled answer": 1.0,
}
_LATEST_SECONDS = 90
_BUSY = "rejected execution of coordinating operation: the write queue is full"

Source = Mapping[str, Any]
Options = Mapping[str, Any] | None


class SimulatedOpenSearch:
    """Stands in for `opensearchpy.OpenSearch`: raises its exceptions, behaves as measured on OpenSearch 3.6.

    External versions (`external_gte`) are kept up to 2^63-1. A deleted document's version is remembered for
    `index.gc_deletes`, and until a restart or a close of the index. A delete makes a missing index, whatever its own
    `require_alias` says. A malformed operation fails its whole request.

    With `faults`, requests fail in the ways of `faults.counts`; time passes on `clock` while one times out. One write
    may arrive up to 90 s after its request was given up: `timeout, written late`. Without, only `restart`, `vanish` and
    `block` disturb. Documents that do not fit the index mapping are refused, and new fields grow it, by `properties`,
    `dynamic` and `dynamic_templates` with `match_mapping_type`. Not simulated: refreshes (a search sees every write at
    once), `filter_path` (answers are whole), shards.

    `rejects` gives the error type for a document that can't be stored, or None; names of fields that OpenSearch refuses
    are refused anyway. `on_write` is told of each write as it happens. `versions_ever` holds the highest version that
    each document (index, id) of the present indices ever had, forgotten deletes included. `conflicts` counts the writes
    that a newer version kept out. One thread at a time.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        faults: Faults | None = None,
        *,
        rejects: Callable[[Source], str | None] | None = None,
        on_write: Written | None = None,
    ) -> None:
        self.rejects = rejects
        self.on_write = on_write
        self.versions_ever: dict[tuple[str, str], int] = {}
        self.conflicts = 0
        self.is_late = False
        """Is a write arriving now whose request was given up before?"""
        self._cluster = Cluster(clock, faults)
        self._cluster.vanished = self._forget_versions
        self.indices = SimulatedIndices(self._cluster)
        self.cluster = SimulatedHealth(self._cluster)
        self._writer = Writer(self._cluster.target, self._cluster.make, self._refuses, self._written)
        self._scrolls: dict[str, tuple[list[dict[str, Any]], int]] = {}
        self._scroll_ids = map("scroll-{}".format, itertools.count(1))

    @property
    def is_down(self) -> bool:
        """Does nobody listen, since a restart is not over?"""
        return self._cluster.down

    @property
    def faults(self) -> Faults | None:
        """The faults that requests meet; may be set at any time."""
        return self._cluster.faults

    @faults.setter
    def faults(self, faults: Faults | None) -> None:
        self._cluster.faults = faults

    def bulk(self, *, body: bytes | str, params: Options = None, **options: Any) -> dict[str, Any]:
        """Do `index` and `delete` operations, each answered for itself.

        Raises:
            RequestError: one is malformed: none is done.
            TransportError: a fault; a `ConnectionError` or `ConnectionTimeout` leaves open what was done.
            SerializationError: a fault: the answer was cut, all is done.
        """
        kind = self._cluster.draw("opensearch", _FAULTS)
        asked = operations(body.encode() if isinstance(body, str) else body)
        if kind is None:
            return self._answer(self._apply_all(asked))
        timeout = {**(params or {}), **options}.get("request_timeout", self._cluster.timeout_seconds)
        return self._faulty(kind, asked, float(getattr(timeout, "total", timeout)))  # a number, or urllib3's Timeout

    def _faulty(self, kind: str, asked: list[Operation], timeout_seconds: float) -> dict[str, Any]:
        clock, faults = self._cluster.clock, self._cluster.faults
        if faults is None:
            raise AssertionError("a fault was drawn, so there are some")
        match kind:
            case "request 429":
                raise refused(429, "rejected_execution_exception", _BUSY)
            case "503":
                raise refused(503, "cluster_manager_not_discovered_exception", "no cluster manager")
            case "item 429":
                surely = faults.pick(0, len(asked) - 1)
                self._writer.make_missing(asked)
                return self._answer(
                    [
                        failed(operation, 429, "rejected_execution_exception", _BUSY)
                        if position == surely or faults.chance(0.5)
                        else self._apply(operation)
                        for position, operation in enumerate(asked)
                    ]
                )
            case "torn connection":
                self._apply_all(asked, faults.pick(0, len(asked)))
                raise no_connection("Connection aborted.")
            case "garbled answer":
                from opensearchpy.exceptions import SerializationError

                self._apply_all(asked)
                raise SerializationError('{"took":1,"err', "Unterminated string")
            case "timeout, written":
                self._apply_all(asked)
            case "timeout, written late":
                arrival = clock() + timeout_seconds + faults.pick(1, _LATEST_SECONDS)
                clock.at(arrival, lambda: self._arrive(asked))
        clock.sleep(timeout_seconds)
        raise timed_out(timeout_seconds)

    def _arrive(self, asked: list[Operation]) -> None:
        if not self._cluster.down:
            self.is_late = True
            self._apply_all(asked)
            self.is_late = False

    def _apply_all(self, asked: list[Operation], count: int | None = None) -> list[dict[str, Any]]:
        """Do the operations, or the leading `count` of them, and answer them."""
        if count != 0:
            self._writer.make_missing(asked)
        return [self._apply(operation) for operation in asked[:count]]

    def _apply(self, operation: Operation) -> dict[str, Any]:
        answer = self._writer.apply(operation, self._cluster.clock())
        self.conflicts += answer[operation.action]["status"] == 409
        return answer

    def _answer(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        errors = any("error" in answer for item in items for answer in item.values())
        return {"took": 0, "errors": errors, "items": items}

    def _refuses(self, source: Source) -> str | None:
        return self.rejects(source) if self.rejects else None

    def _written(
        self,
        index: str,
        identifier: str,
        old: tuple[int, dict[str, Any] | None] | None,
        new: tuple[int, dict[str, Any] | None],
    ) -> None:
        where = index, identifier
        self.versions_ever[where] = max(new[0], self.versions_ever.get(where, new[0]))
        if self.on_write:
            self.on_write(index, identifier, old, new)

    def _forget_versions(self, name: str) -> None:
        self.versions_ever = {where: version for where, version in self.versions_ever.items() if where[0] != name}

    def search(
        self, *, index: str = "_all", body: Options = None, params: Options = None, **options: Any
    ) -> dict[str, Any]:
        """Find documents: `query`, `sort`, `size`, `from`, `search_after`, `version`, `_source`, `scroll`."""
        self._cluster.look()
        asked = {**(body or {}), **(params or {}), **options}
        documents = _search.found(self._cluster, index, asked.get("query"))
        hits = _search.hits_of(documents, asked)
        start, size = int(asked.get("from", 0)), int(asked.get("size", 10))
        answer = _search.answer(hits[start : start + size], len(documents))
        if "scroll" in asked:
            answer["_scroll_id"] = next(self._scroll_ids)
            self._scrolls[answer["_scroll_id"]] = hits[start + size :], size
        return answer

    def scroll(self, *, body: Options = None, params: Options = None, **options: Any) -> dict[str, Any]:
        """The next page of a search that asked for `scroll`."""
        self._cluster.look()
        identifier = {**(body or {}), **(params or {}), **options}["scroll_id"]
        if identifier not in self._scrolls:
            raise refused(404, "search_context_missing_exception", f"No search context found for id [{identifier}]")
        hits, size = self._scrolls[identifier]
        self._scrolls[identifier] = hits[size:], size
        return {**_search.answer(hits[:size], len(hits)), "_scroll_id": identifier}

    def clear_scroll(self, *, body: Options = None, **_options: Any) -> dict[str, Any]:
        """End scrolls."""
        identifiers = (body or {}).get("scroll_id", ())
        for identifier in [identifiers] if isinstance(identifiers, str) else identifiers:
            self._scrolls.pop(identifier, None)
        return {"succeeded": True}

    def count(self, *, index: str = "_all", body: Options = None, **_options: Any) -> dict[str, Any]:
        """How many documents a query finds."""
        self._cluster.look()
        return {"count": len(_search.found(self._cluster, index, (body or {}).get("query")))}

    def get(self, *, index: str, id: str, **_options: Any) -> dict[str, Any]:  # noqa: A002  (the client's own name)
        """One document, whatever an alias's filter says."""
        self._cluster.look()
        found = self._cluster.resolve(index)[0]
        if found.closed:
            raise index_closed(found.name)
        held = found.documents.get(id)
        if held is None:
            from opensearchpy.exceptions import NotFoundError

            missing = {"_index": found.name, "_id": id, "found": False}
            raise NotFoundError(404, json.dumps(missing), missing)
        return {
            "_index": found.name,
            "_id": id,
            "_version": held.version,
            "found": True,
            "_source": json.loads(held.text),
        }

    def held(self, index: str, identifiers: Sequence[str] | None = None) -> dict[str, Held]:
        """The documents of an index, or of these ids, as a reader is shown them now: an alias's filter holds.

        Raises:
            NotFoundError: there is no such index or alias.
            TransportError: a fault.
        """
        self._cluster.look()
        query = None if identifiers is None else {"ids": {"values": list(identifiers)}}
        return {identifier: held for _, identifier, held in _search.found(self._cluster, index, query)}

    def close(self) -> None:
        """Holds no connection."""

    def restart(self, down_seconds: float = 0.0) -> None:
        """Stop it cleanly and start it again: every remembered delete is forgotten. Nobody answers meanwhile."""
        self._cluster.restart(down_seconds)

    def vanish(self, index: str) -> None:
        """Delete the indices of this name, or behind this alias, as somebody else would while consumers run."""
        for found in self._cluster.target(index)[0]:
            self._cluster.remove(found.name)

    def tamper(self, index: str, identifier: str, source: Source | None, *, version: int = 1) -> None:
        """Write or remove a document as another program would, long enough ago that nothing is remembered of it. One
        that is there keeps its version; a new one has `version`."""
        for found in self._cluster.target(index)[0]:
            held = found.documents.pop(identifier, None)
            found.deleted.pop(identifier, None)
            self.versions_ever.pop((found.name, identifier), None)
            if source is not None:
                text = json.dumps(source).encode()
                kept = (
                    Held(version, exact(text), text) if held is None else replace(held, source=exact(text), text=text)
                )
                found.put(identifier, kept)

    def block(self, index: str, blocked: bool, *, kind: str = "write") -> None:
        """Set or lift a block: `write` (403), `read_only` (403), `read_only_allow_delete` (429, as of a full disk)."""
        for found in self._cluster.resolve(index):
            found.settings[f"index.blocks.{kind}"] = str(blocked).lower()

    def behind(self, name: str) -> tuple[str, ...]:
        """The indices of a name or behind an alias."""
        return tuple(found.name for found in self._cluster.target(name)[0])

    def mapping_of(self, index: str) -> Mapping[str, Any]:
        """The mapping of an index that is there."""
        return self._cluster.indices[index].mappings

    def documents(self, index: str) -> dict[str, tuple[int, dict[str, Any]]]:
        """Each document's version and source by id, of an index or of all behind an alias, tombstones included.

        Numbers are exact. An index that is not there has none. The sources are the index's own: don't change them.
        """
        return {
            identifier: (held.version, held.source)
            for found in self._cluster.target(index)[0]
            for identifier, held in found.documents.items()
        }
