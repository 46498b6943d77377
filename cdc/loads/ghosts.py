"""Ghosts: documents of items that were deleted, or left, between their read and their write.

What removes a document is applied again, from the archive, since the load began. Nothing else of the archive is
written: OpenSearch may have forgotten a delete, and an older change would bring the item back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from cdc.delivery.missing_image import ReadMissingImage
from cdc.loads.deployment import ArchivePlace, Deployment
from cdc.loads.replay import Replayed, as_key_only, changes_between, excluded_from_archive, replay
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["RemovalsOnly", "close_by_archive"]

_TOMBSTONE = f'{{"{TOMBSTONE_FIELD}":'.encode()


@dataclass(frozen=True)
class RemovalsOnly:
    """A compiled mapping of which only the removals are written: deletes, and tombstones in their place."""

    compiled: CompiledMapping

    @property
    def mapping(self) -> Any:
        """The mapping's own."""
        return self.compiled.mapping

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        """The removals among the writes that the change makes."""
        return [write for write in self.compiled.writes(change) if is_removal(write)]


def is_removal(write: Write | Rejected) -> bool:
    """Does it take a document away?"""
    return isinstance(write, Delete) or (isinstance(write, Put) and write.source.startswith(_TOMBSTONE))


def close_by_archive(
    deployment: Deployment,
    place: ArchivePlace,
    compiled: CompiledMapping,
    since: datetime,
    *,
    wanted: Callable[[], bool] = lambda: True,
    observe: Callable[[Replayed], None] = lambda _so_far: None,
) -> Replayed:
    """Apply again every archived delete, and every leaving of a document, since a moment.

    Raises:
        ReplayStopped: it is not wanted any more.
        SinkUnavailable: the archive can't be read.
    """
    removals = cast("CompiledMapping", RemovalsOnly(compiled))  # all that a sink asks of a mapping
    index: Sink = ReadMissingImage(deployment.index(lambda _table: removals), deployment.items)
    sink = deployment.load_sink(index)
    try:
        return replay(
            _decidable(changes_between(place, compiled.table, since), compiled),
            sink,
            clock=deployment.clock,
            sleep=deployment.sleep,
            wanted=wanted,
            observe=observe,
        )
    finally:
        sink.close()


def _decidable(changes: Iterator[Change], compiled: CompiledMapping) -> Iterator[Change]:
    """Where `where` reads what archived lines lack, the item itself decides."""
    excluded = {path[0] for path in excluded_from_archive(compiled)}
    by_table = any(owner.transform is not None or excluded & owner.pattern.attributes for owner in compiled.owners)
    for change in changes:
        yield as_key_only(change) if excluded and by_table else change
