"""Removals: a mapping of which nothing is written but what takes documents away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.change import Change

__all__ = ["RemovalsByEvent", "RemovalsOnly", "is_removal", "removals_of"]

_TOMBSTONE = f'{{"{TOMBSTONE_FIELD}":'.encode()


@dataclass(frozen=True)
class RemovalsOnly(CompiledMapping):
    """A compiled mapping whose writes are deletes, and the tombstones in their place, alone.

    A document that can't be made of an item is left out too: it would be no removal.
    """

    def writes(self, change: Change) -> tuple[Write | Rejected, ...]:
        """The removals among the writes that the change makes."""
        return tuple(write for write in super().writes(change) if is_removal(write))


@dataclass(frozen=True)
class RemovalsByEvent(CompiledMapping):
    """A mapping for documents that it makes of no item: each change removes the one that its event id names."""

    removals: Mapping[str, Write] = field(default_factory=dict)

    def writes(self, change: Change) -> tuple[Write | Rejected, ...]:
        """The removal."""
        return (self.removals[change.event_id],)


def removals_of(compiled: CompiledMapping) -> RemovalsOnly:
    """The mapping, for removals alone."""
    return RemovalsOnly(compiled.mapping, compiled.table, compiled.owners, compiled.keys)


def is_removal(write: Write | Rejected) -> bool:
    """Does it take a document away? A tombstone is the one document that stands for no keys."""
    return isinstance(write, Delete) or (
        isinstance(write, Put) and not write.keys and write.source.startswith(_TOMBSTONE)
    )
