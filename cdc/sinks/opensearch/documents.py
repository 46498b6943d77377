"""Documents read back: an index page by page at one point in time, and single documents as they stand now.

Sources are bytes as OpenSearch holds them: a parser that reads numbers as floats would lose digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import msgspec

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.known_types import know
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.memory import Memory
from cdc.sinks.opensearch.provenance import RememberedSource

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["DocumentReader", "FoundDocument", "KnowsConcretes", "OpenSearchDocuments", "RemembersSources"]

_T = TypeVar("_T")


class FoundDocument(msgspec.Struct, frozen=True):
    """A document as it stands in an index."""

    id: str
    version: int
    routing: str | None
    source: bytes | None
    """The JSON of `_source`; None where it was not asked for."""


class DocumentReader(Protocol):
    """Reads documents of an index or an alias (an alias's filter holds: it shows no tombstone)."""

    def pages(
        self, index: str, *, slice_: int = 0, slices: int = 1, with_source: bool
    ) -> Iterator[Sequence[FoundDocument]]:
        """Every document of a slice, as the index stood at the first request, once each. The index is refreshed first.

        Raises:
            SinkUnavailable: OpenSearch is out of reach.
            ConfigError: there is no such index, or it may not be read.
        """
        ...

    def get(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> Sequence[FoundDocument | None]:
        """The documents of these ids and routings as they stand now, in their order (realtime, no refresh needed);
        None for those that are not there.

        Raises:
            SinkUnavailable: OpenSearch is out of reach.
        """
        ...

    def count(self, index: str) -> int:
        """How many documents the index shows."""
        ...

    def sample(self, index: str, size: int, seed: int) -> Sequence[FoundDocument]:
        """Documents drawn at random, with their sources; fewer than `size` where there are not so many."""
        ...


@runtime_checkable
class RemembersSources(Protocol):
    """Tells what an index remembers of the tables that write to it."""

    def sources(self, index: str) -> Mapping[str, Sequence[RememberedSource]]:
        """The sources remembered of each table that has written to the index, or to one behind this alias.

        Raises:
            SinkUnavailable: OpenSearch is out of reach.
            ConfigError: there is no such index, or it may not be read.
        """
        ...


@runtime_checkable
class KnowsConcretes(Protocol):
    """Tells which concrete indices a name stands for."""

    def concretes(self, index: str) -> Sequence[str]:
        """The concrete indices behind an alias; of a concrete index itself.

        Raises:
            SinkUnavailable: OpenSearch is out of reach.
            ConfigError: there is no such index, or it may not be read.
        """
        ...


_KEPT_ALIVE = "5m"
_AT_ONCE = 100
"""Documents of one request for single ones: with 400 KB each, 40 MB."""
_PAGE_BYTES = 4 * 1024 * 1024
_PAGE_DOCUMENTS = (10, 2000)
_PROBED = 20
_MOST_SAMPLED = 10_000
"""OpenSearch documentation, "Index settings": index.max_result_window."""
_LIVING: dict[str, Any] = {"bool": {"must_not": {"exists": {"field": TOMBSTONE_FIELD}}}}
_WHOLE = {"allow_partial_search_results": "false"}


class _Hit(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="_id")
    index: str = msgspec.field(name="_index", default="")
    version: int = msgspec.field(name="_version", default=0)
    routing: str | None = msgspec.field(name="_routing", default=None)
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw())
    found: bool = True
    error: dict[str, Any] | None = None

    def document(self) -> FoundDocument:
        """A copy: the raw source would keep the whole answer in memory."""
        return FoundDocument(self.id, self.version, self.routing, bytes(self.source) or None)


class _Hits(msgspec.Struct, frozen=True):
    hits: list[_Hit]


class _Shards(msgspec.Struct, frozen=True):
    failed: int = 0


class _Page(msgspec.Struct, frozen=True):
    hits: _Hits
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default=_Shards())
    scroll: str = msgspec.field(name="_scroll_id", default="")


class _Several(msgspec.Struct, frozen=True):
    docs: list[_Hit]


class _Count(msgspec.Struct, frozen=True):
    count: int


class _Tombstone(msgspec.Struct, frozen=True):
    tombstone: Any = msgspec.field(name=TOMBSTONE_FIELD, default=None)


know(_Page, _Several, _Count, _Tombstone)


@dataclass(frozen=True)
class OpenSearchDocuments:
    """Documents of OpenSearch by sliced scroll and `_mget` (OpenSearch documentation, "Scroll", "Multi-get
    documents"). `client` is one of `opensearch_client(…, raw_answers=True)`."""

    client: OpenSearch

    def pages(
        self, index: str, *, slice_: int = 0, slices: int = 1, with_source: bool
    ) -> Iterator[Sequence[FoundDocument]]:
        """See `DocumentReader.pages`; the scroll is cleared at the end, also of a generator that is closed early."""
        self._asked(index, lambda: self.client.indices.refresh(index=index))
        size = self._page_size(index) if with_source else _PAGE_DOCUMENTS[1]
        body: dict[str, Any] = {"query": _LIVING, "sort": ["_doc"], "size": size, "_source": with_source}
        if slices > 1:
            body["slice"] = {"id": slice_, "max": slices}
        page = self._page(
            index,
            lambda: self.client.search(
                index=index, body={**body, "version": True}, params={"scroll": _KEPT_ALIVE, **_WHOLE}
            ),
        )
        scroll = page.scroll
        try:
            while page.hits.hits:
                yield [hit.document() for hit in page.hits.hits]
                asked = {"scroll_id": scroll, "scroll": _KEPT_ALIVE}
                page = self._page(index, partial(self.client.scroll, body=asked))
                scroll = page.scroll or scroll
        finally:
            self._clear(scroll)

    def _clear(self, scroll: str) -> None:
        from opensearchpy.exceptions import OpenSearchException

        with suppress(OpenSearchException):  # it ends by itself after some minutes
            self.client.clear_scroll(body={"scroll_id": [scroll]})

    def _page_size(self, index: str) -> int:
        """So many documents that a page has some megabytes, by the size of a few."""
        body = {"query": _LIVING, "size": _PROBED}
        answer = self._asked(index, lambda: self.client.search(index=index, body=body, params=_WHOLE))
        return max(_PAGE_DOCUMENTS[0], min(_PAGE_DOCUMENTS[1], _PAGE_BYTES * _PROBED // max(1, len(answer))))

    def get(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> Sequence[FoundDocument | None]:
        """See `DocumentReader.get`; a tombstone is no document."""
        found: list[FoundDocument | None] = []
        for start in range(0, len(wanted), _AT_ONCE):
            found += self._some(index, wanted[start : start + _AT_ONCE])
        return found

    def _some(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> list[FoundDocument | None]:
        asked = [{"_id": name} if routing is None else {"_id": name, "routing": routing} for name, routing in wanted]
        answer = self._read(index, _Several, lambda: self.client.mget(index=index, body={"docs": asked}))
        if len(answer.docs) != len(wanted):
            raise _out_of_reach(index, "the answer has not one entry for each document")
        found: list[FoundDocument | None] = []
        for hit in answer.docs:
            if hit.error is not None:
                raise _refused(index, str(hit.error.get("type", "")), str(hit.error.get("reason", "")))
            found.append(_alive(hit.document()) if hit.found else None)
        return found

    def count(self, index: str) -> int:
        """See `DocumentReader.count`."""
        return self._read(index, _Count, lambda: self.client.count(index=index, body={"query": _LIVING})).count

    def sample(self, index: str, size: int, seed: int) -> Sequence[FoundDocument]:
        """See `DocumentReader.sample`; 10,000 at most. Those that were removed since the draw are left out."""
        drawn = {
            "function_score": {"query": _LIVING, "random_score": {"seed": seed, "field": "_seq_no"}},
        }
        body = {"query": drawn, "size": min(size, _MOST_SAMPLED), "_source": False}
        page = self._page(index, lambda: self.client.search(index=index, body=body, params=_WHOLE))
        found = self.get(index, [(hit.id, hit.routing) for hit in page.hits.hits])
        return [document for document in found if document is not None]

    def sources(self, index: str) -> Mapping[str, Sequence[RememberedSource]]:
        """See `RemembersSources.sources`."""
        answer = self._read(index, dict[str, Any], lambda: self.client.indices.get_mapping(index=index))
        found: dict[str, list[RememberedSource]] = {}
        for concrete, state in answer.items():
            memory = Memory(concrete, state.get("mappings", {}))
            for table in memory.tables:
                source = memory.source(table)
                found.setdefault(table, []).extend([] if source is None else [source])
        return found

    def concretes(self, index: str) -> Sequence[str]:
        """See `KnowsConcretes.concretes`."""
        return sorted(self._read(index, dict[str, Any], lambda: self.client.indices.get_mapping(index=index)))

    def _page(self, index: str, ask: Callable[[], Any]) -> _Page:
        page = self._read(index, _Page, ask)
        if page.timed_out or page.shards.failed:
            raise _out_of_reach(index, "some of its shards do not answer")
        return page

    def _read(self, index: str, kind: type[_T], ask: Callable[[], Any]) -> _T:
        answer = self._asked(index, ask)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.MsgspecError as error:
            raise _out_of_reach(index, f"the answer can't be read: {error}", CauseKind.STRANGE_ANSWER) from None

    def _asked(self, index: str, ask: Callable[[], Any]) -> bytes:
        """The answer as it was sent.

        Raises:
            SinkUnavailable: OpenSearch is out of reach.
            ConfigError: there is no such index, or it may not be read.
        """
        from opensearchpy.exceptions import OpenSearchException

        try:
            answer = ask()
        except OpenSearchException as error:
            status = getattr(error, "status_code", None)
            kind = str(getattr(error, "error", ""))
            if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
                raise _refused(index, kind, f"{status} {kind}") from error
            overloaded = CauseKind.OVERLOADED if status == 429 else CauseKind.OUT_OF_REACH
            raise _out_of_reach(index, f"{type(error).__name__} {status or ''}".strip(), overloaded) from error
        if not isinstance(answer, str):
            raise ConfigError(
                "documents are read by a client that parses answers: numbers would lose digits",
                remedy="Make it by opensearch_client(options, raw_answers=True).",
            )
        return answer.encode("utf-8", "surrogatepass")


def _alive(document: FoundDocument) -> FoundDocument | None:
    """The document, unless it is a tombstone."""
    if document.source is None or TOMBSTONE_FIELD.encode() not in document.source:
        return document
    try:
        is_tombstone = msgspec.json.decode(document.source, type=_Tombstone).tombstone is not None
    except msgspec.MsgspecError:
        is_tombstone = False
    return None if is_tombstone else document


_PASSING = ("cluster_block_exception", "search_context_missing_exception", "search_phase_execution_exception")
"""Refusals that pass: a block that somebody lifts, a scroll that a node has lost."""


def _refused(index: str, kind: str, text: str) -> ConfigError | SinkUnavailable:
    if kind in _PASSING or "no_shard_available" in kind or "unavailable" in kind:
        return _out_of_reach(index, text)
    if kind == "index_not_found_exception":
        return ConfigError(
            f"there is no index {index}", remedy="Check `index` in the mapping, and start the consumer once."
        )
    if kind == "security_exception" or "401" in text or "403" in text:
        return ConfigError(
            f"the index {index} may not be read: {text}",
            remedy="Allow this user or role to search, scroll, get and refresh it (indices:data/read/*, "
            "indices:admin/refresh, indices:admin/mappings/get).",
        )
    return ConfigError(
        f"the index {index} can't be read: {text}", remedy="Check the index, and `index` in the mapping."
    )


def _out_of_reach(index: str, text: str, kind: CauseKind = CauseKind.OUT_OF_REACH) -> SinkUnavailable:
    return SinkUnavailable(
        "opensearch",
        f"documents of {index} can't be read: {text}",
        remedy="Check the endpoint of OpenSearch, and that the cluster is up.",
        kind=kind,
    )
