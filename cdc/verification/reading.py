"""Reading: the table once and its indices once, both into a spool, by as many threads as asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

import msgspec
import orjson

from cdc.loads.deployment import Deployment
from cdc.loads.table import Page
from cdc.mappings.writes import Put
from cdc.records.attributes import RawItem
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.verification.content import content_digest, has_set_aside
from cdc.verification.expected import Expectations, keys_json
from cdc.verification.keys import KeysOfDocuments
from cdc.verification.patience import ReadUnits, patiently
from cdc.verification.sources import KnownSources
from cdc.verification.spool import NO_CONTENT, Spool, packed, place_of

__all__ = ["FOREIGN_ABOVE", "FOREIGN_BELOW", "REJECTED", "SET_ASIDE", "Reading", "VerificationProgress"]

REJECTED, FOREIGN_ABOVE, FOREIGN_BELOW, SET_ASIDE = 1, 2, 4, 8
"""Notes of the sides on an entry: its document can't be made; whose version it has; part of it was set aside."""

_ASIDE = b"_cdc_aside"


class VerificationProgress(msgspec.Struct, frozen=True):
    """How far a verification is."""

    items: int = 0
    """Items read so far."""
    documents: int = 0
    """Documents read so far."""
    looked_at: int = 0
    """Candidates that were looked at once more."""
    read_units: float = 0.0


@dataclass
class Reading:
    """Reads a table and its indices into a spool."""

    deployment: Deployment
    expectations: Expectations
    sources: KnownSources
    keys: KeysOfDocuments
    units: ReadUnits
    spool: Spool
    with_content: bool
    observe: Callable[[VerificationProgress], None]
    items: int = 0
    _documents: int = 0
    _stopped: bool = False
    _lock: Lock = field(default_factory=Lock, repr=False)

    def all(self, segments: int, workers: int) -> None:
        """Read everything. One worker reads in this thread, the table first.

        Raises:
            SinkUnavailable: one of both has been out of reach for ten minutes.
            ConfigError: one of both may not be read.
        """
        parts = list(range(segments))
        if workers > 1:
            random.shuffle(parts)  # no partition is hot
        jobs = [partial(self._segment, part, segments) for part in parts]
        slices = max(1, workers)
        for number in range(len(self.expectations.indices)):
            jobs += [partial(self._slice, number, part, slices) for part in range(slices)]
        if workers <= 1:
            for job in jobs:
                job()
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="verify") as pool:
            running = [pool.submit(self._unless_stopped, job) for job in jobs]
            for one in running:
                one.result()

    def _unless_stopped(self, job: Callable[[], None]) -> None:
        if self._stopped:
            return
        try:
            job()
        except BaseException:
            self._stopped = True  # the others end at their next page
            raise

    def _segment(self, segment: int, segments: int) -> None:
        after: RawItem | None = None
        while not self._stopped:
            page = self._page(segment, segments, after)
            self.take_items(page.items)
            if page.after is None:
                return
            after = page.after

    def _page(self, segment: int, segments: int, after: RawItem | None) -> Page:
        table = self.expectations.stream.table
        return self.units.page(lambda: self.deployment.pages.page(table, segment, segments, after))

    def take_items(self, items: Sequence[RawItem]) -> None:
        """Spool what the items make."""
        numbers = {index: number for number, index in enumerate(self.expectations.indices)}
        ignored = {index: self.expectations.ignored(index) for index in numbers}
        entries = []
        for item in items:
            self.keys.learn(item)
            for put, keys in self.expectations.puts(item):
                if isinstance(put, Put):
                    index, identifier, routing, flag = put.index, put.id, put.routing, 0
                    content = content_digest(put.source, ignored[index]) if self.with_content else NO_CONTENT
                else:
                    index, _, identifier = put.document.partition("/")
                    routing, flag, content = None, REJECTED, NO_CONTENT
                about = keys_json([identifier, routing, keys])
                entries.append(packed(place_of(index, identifier, routing), content, 0, flag, numbers[index], about))
        self.spool.add_ours(entries)
        self._told(items=len(items))

    def _slice(self, number: int, part: int, slices: int) -> None:
        """A slice that fails is begun anew: what is spooled twice counts once."""
        patiently(self.deployment, lambda: self._slice_once(number, part, slices))

    def _slice_once(self, number: int, part: int, slices: int) -> None:
        index = self.expectations.indices[number]
        pages = self.deployment.documents.pages(index, slice_=part, slices=slices, with_source=self.with_content)
        try:
            for documents in pages:
                self._take_documents(number, index, documents)
                if self._stopped:
                    return
        finally:
            close = getattr(pages, "close", None)
            if close is not None:  # of a generator: the scroll ends
                close()

    def _take_documents(self, number: int, index: str, documents: Sequence[FoundDocument]) -> None:
        ignored = self.expectations.ignored(index)
        lowest, highest = self.sources.bounds(index)
        entries = []
        for document in documents:
            version, source = document.version, document.source
            flag = FOREIGN_ABOVE if version > highest else FOREIGN_BELOW if version < lowest else 0
            content = NO_CONTENT
            if source is not None and self.with_content:
                content = content_digest(source, ignored)
                if _ASIDE in source and has_set_aside(source):
                    flag |= SET_ASIDE
            about = orjson.dumps([document.id, document.routing])
            place = place_of(index, document.id, document.routing)
            entries.append(packed(place, content, version, flag, number, about))
        self.spool.add_theirs(entries)
        self._told(documents=len(documents))

    def _told(self, items: int = 0, documents: int = 0) -> None:
        with self._lock:
            self.items += items
            self._documents += documents
            self.observe(VerificationProgress(self.items, self._documents, 0, self.units.spent))
