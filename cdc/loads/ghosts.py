"""Ghosts: documents of items that were deleted, or left, between their read and their write.

Where there is an archive, what removes a document is applied again from the moment the read began. Nothing else of the
archive is written: OpenSearch may have forgotten a delete, and an older change would bring the item back. Where there
is none, the items of the documents that still stand as the load wrote them are looked up once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import orjson
import tenacity
from msgspec.structs import replace

from cdc.dead_letters.latest_state import WriteLatestState
from cdc.delivery.missing_image import ReadMissingImage
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.archived import as_key_only, changes_since, excluded_from_archive, reach_of
from cdc.loads.batches import BatchWriter, Replayed
from cdc.loads.changes import change_of_item, keys_of, loaded_version
from cdc.loads.deployment import ArchivePlace, Deployment
from cdc.loads.table import SourceTable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.document_id import is_digest
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.mappings.removals import RemovalsByEvent, RemovalsOnly
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.attributes import RawItem
from cdc.records.change import Change, Operation
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.verification.expected import Expectations
from cdc.verification.keys import KeysOfDocuments
from cdc.verification.patience import patiently
from cdc.verification.sources import KnownSources

if TYPE_CHECKING:
    from cdc.loads.backfill import Loaded
    from cdc.loads.plan import Plan

__all__ = ["close_by_archive", "close_by_lookup", "close_ghosts"]

log = logging.getLogger(__name__)

_SINK = "index"
_TRIES_OF_PAGES = 50


def close_ghosts(
    deployment: Deployment,
    compiled: CompiledMapping,
    source: SourceTable,
    plan: Plan,
    loaded: Loaded,
    *,
    earlier: Sequence[Plan] = (),
    wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Remove the ghosts of a load: by the archive, if there is one that has the table's changes; else by looking up.
    How many removals were applied.

    Args:
        earlier: loads that were given up before their own ghosts were removed.

    Raises:
        ReplayStopped: it is not wanted any more.
        SinkUnavailable: the archive, the table or OpenSearch is out of reach.
    """
    stream = plan.stream_of_table()
    if deployment.archive is not None and compiled.mapping.archived:
        since = min(one.began_at for one in (plan, *earlier))
        return close_by_archive(deployment, deployment.archive, compiled, since, stream=stream, wanted=wanted).applied
    if loaded.first_read is None or loaded.last_read is None:
        return 0
    begun = [loaded_version(one.stream_of_table(), int(one.began_at.timestamp() * 1_000_000)) for one in earlier]
    versions = min([loaded_version(stream, loaded.first_read), *begun]), loaded_version(stream, loaded.last_read)
    return close_by_lookup(deployment, compiled, source, stream, versions, wanted=wanted)


def close_by_archive(
    deployment: Deployment,
    place: ArchivePlace,
    compiled: CompiledMapping,
    since: datetime,
    *,
    stream: Stream | None = None,
    written_since: datetime | None = None,
    wanted: Callable[[], bool] = lambda: True,
    observe: Callable[[Replayed], None] = lambda _so_far: None,
) -> Replayed:
    """Apply again every archived delete, and every leaving of a document, since a time.

    What is applied counts whether or not a document was there.

    Args:
        stream: the one that the changes come from, if it is known: of a DynamoDB stream less of the archive is looked
            at.
        written_since: only what came into the archive since then.

    Raises:
        ReplayStopped: it is not wanted any more.
        SinkMisconfigured: an index can't be written to.
        SinkUnavailable: the archive can't be read.
    """
    removals = RemovalsOnly(compiled)
    sink = deployment.load_sink(ReadMissingImage(deployment.index(lambda _table: removals), deployment.items))
    changes = changes_since(place, compiled.table, since, reach=reach_of(stream), written_since=written_since)

    def told(so_far: Mapping[str, Replayed]) -> None:
        observe(so_far[_SINK])

    writer = BatchWriter({_SINK: sink}, deployment.clock, deployment.sleep, wanted, told)
    try:
        return writer.write(_removing(changes, compiled))[_SINK]
    finally:
        sink.close()


def _removing(changes: Iterator[Change], compiled: CompiledMapping) -> Iterator[Change]:
    """The changes that may remove a document. Where archived images don't tell, since they lack what `where` or a
    transform reads, the item itself does: it is read from the table, or it is gone."""
    excluded = {path[0] for path in excluded_from_archive(compiled)}
    by_item = bool(excluded) and any(
        owner.transform is not None or excluded & owner.pattern.attributes for owner in compiled.owners
    )
    for change in changes:
        if change.operation is not Operation.INSERT:  # of a new item there is no document, unless of an earlier one
            yield as_key_only(change) if by_item else change


def close_by_lookup(
    deployment: Deployment,
    compiled: CompiledMapping,
    source: SourceTable,
    stream: Stream,
    versions: tuple[int, int],
    *,
    wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Look up, consistently, the items of all documents that stand at a version of the load, and remove the documents
    of those that are gone, or that the mapping takes no more, each at the version that it has. How many were removed.

    It reads an item for each document that has not changed since the load. Where `on_remove` or `on_expiry` says keep,
    a document whose item is gone stays: why it is gone shows nowhere. Ids that are digests are told by one consistent
    scan of the table.

    Args:
        versions: the versions of the load's first and of its last read; equal for a DynamoDB stream.

    Raises:
        ConfigError: the table was replaced meanwhile.
        ReplayStopped: it is not wanted any more.
        SinkMisconfigured: an index can't be written to.
        SinkUnavailable: the table or OpenSearch has been out of reach for long.
    """
    lookup = _Lookup(deployment, Expectations(compiled, stream, source.keys, versions[0]), source, versions, wanted)
    return sum(lookup.close(index) for index in compiled.bodies)


@dataclass
class _Lookup:
    """The documents of a load, whose items are looked up."""

    deployment: Deployment
    expectations: Expectations
    source: SourceTable
    versions: tuple[int, int]
    wanted: Callable[[], bool]

    def __post_init__(self) -> None:
        types = dict(zip(self.source.keys, self.source.key_types, strict=True))
        self._keys = KeysOfDocuments(self.expectations, types)
        self._sources = KnownSources(self.deployment.documents, self.expectations.stream, self.deployment.now)

    def close(self, index: str) -> int:
        """Remove the ghosts of an index."""
        one = self.expectations.only(index)
        removals = _OfLookup(one, partial(self.expectations.keeps, index))
        sink = self.deployment.load_sink(self.deployment.index(lambda _table: removals))
        writer = self._writer(WriteLatestState(sink, self.deployment.items, self._check))
        hashed: dict[str, FoundDocument] = {}
        try:
            # what is gone already is not among the documents when they are read again from the first
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(SinkUnavailable),
                wait=tenacity.wait_random_exponential(multiplier=0.1, max=20),
                stop=tenacity.stop_after_attempt(_TRIES_OF_PAGES),
                sleep=self.deployment.sleep,
                reraise=True,
            )(lambda: writer.write(self._suspects(index, hashed)))
            writer.write(self._suspects_in_table(index, hashed))
        finally:
            sink.close()
        return writer.so_far[_SINK].applied + self._without_items(index, hashed)

    def _writer(self, sink: Sink) -> BatchWriter:
        return BatchWriter({_SINK: sink}, self.deployment.clock, self.deployment.sleep, self.wanted)

    def _check(self, stream: Stream) -> None:
        if self.deployment.pages.describe(stream.table).id != self.source.id:
            raise ConfigError(
                f"the table {stream.table} was replaced since it was read",
                remedy=f"Begin anew: cdc backfill --table {stream.table}",
            )

    def _suspects(self, index: str, hashed: dict[str, FoundDocument]) -> Iterator[Change]:
        """The removals of the documents that stand as the load wrote them; `hashed` gets those whose ids hide keys."""
        lowest, highest = self.versions
        for page in self.deployment.documents.pages(index, with_source=False):
            for document in page:
                if not lowest <= document.version <= highest:
                    continue
                keys = self._keys.of_id(index, document.id)
                if keys is None and is_digest(document.id):
                    hashed[document.id] = document
                elif keys is not None and self.expectations.may_be_ours(index, keys):
                    yield self._removal(keys, document.version)

    def _suspects_in_table(self, index: str, hashed: dict[str, FoundDocument]) -> Iterator[Change]:
        """The same of the documents in `hashed` whose items are there; only those without are left in it."""
        after: RawItem | None = None
        ask = self.deployment.pages.page
        while hashed:
            page = patiently(self.deployment, partial(ask, self.source.name, 0, 1, after, consistent=True))
            for item in page.items:
                keys = keys_of(item, self.source.keys)
                for identifier in self._ids(index, keys):
                    if (document := hashed.pop(identifier, None)) is not None:
                        yield self._removal(keys, document.version)
            after = page.after
            if after is None:
                return

    def _ids(self, index: str, keys: RawItem) -> set[str]:
        return {
            self._keys.id_of(owner.document.id, keys)
            for owner in self.expectations.only(index).owners
            if owner.may_take(keys)
        }

    def _without_items(self, index: str, hashed: Mapping[str, FoundDocument]) -> int:
        """Remove documents whose ids no item of the table makes, unless they may be another table's."""
        if not hashed or self.expectations.keeps(index, None):
            return 0
        if patiently(self.deployment, lambda: self._sources.is_shared(index)):
            log.warning(
                "%s: %d documents have digests as ids that no item of %s makes: they stay, for other tables write to "
                "the index too. `cdc verify` lists them",
                *(index, len(hashed), self.source.name),
            )
            return 0
        one = self.expectations.only(index)
        tombstone = any(owner.document.on_remove == "tombstone" for owner in one.owners)
        removed = orjson.dumps({TOMBSTONE_FIELD: datetime.fromtimestamp(self.deployment.now(), UTC).isoformat()})
        writes: dict[str, Write] = {
            name: Put(index, name, found.routing, found.version, removed)
            if tombstone
            else Delete(index, name, found.routing, found.version)
            for name, found in hashed.items()
        }
        fixed = RemovalsByEvent(one.mapping, writes)
        sink = self.deployment.load_sink(self.deployment.index(lambda _table: fixed))
        try:
            changes = [replace(self._removal({}, found.version), event_id=name) for name, found in hashed.items()]
            return self._writer(sink).write(changes)[_SINK].applied
        finally:
            sink.close()

    def _removal(self, keys: RawItem, version: int) -> Change:
        micros = int(self.deployment.now() * 1_000_000)
        return replace(
            change_of_item(None, keys, self.expectations.stream, version=version, micros=micros), redriven=True
        )


@dataclass(frozen=True)
class _OfLookup(RemovalsOnly):
    """The removals of documents whose items were looked up."""

    keeps: Callable[[RawItem], bool] = lambda _keys: False
    """Does the document of these keys stay when its item is gone?"""

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        """None for an item that is gone, where documents are kept."""
        stays = change.operation is Operation.REMOVE and self.keeps(change.raw_keys)
        return () if stays else super().writes(change)
