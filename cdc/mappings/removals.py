"""Removals: mappings of which nothing is written but what takes documents away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import TOMBSTONE_FIELD, TableMapping
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.change import Change

__all__ = ["RemovalsByEvent", "RemovalsOnly", "is_removal"]

_TOMBSTONE = f'{{"{TOMBSTONE_FIELD}":'.encode()


@dataclass(frozen=True)
class RemovalsOnly:
    """A compiled mapping whose writes are deletes, and the tombstones in their place, alone.

    A document that can't be made of an item is left out too: it would be no removal.
    """

    compiled: CompiledMapping

    @property
    def mapping(self) -> TableMapping:
        """The mapping's own."""
        return self.compiled.mapping

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        """The removals among the writes that the change makes."""
        return [write for write in self.compiled.writes(change) if is_removal(write)]


@dataclass(frozen=True)
class RemovalsByEvent:
    """A mapping for documents that it makes of no item: each change removes the one that its event id names."""

    mapping: TableMapping
    removals: Mapping[str, Write]

    @cached_property
    def indices(self) -> frozenset[str]:
        """The indices that it removes documents of."""
        return frozenset(write.index for write in self.removals.values())

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        """The removal."""
        return (self.removals[change.event_id],)


def is_removal(write: Write | Rejected) -> bool:
    """Does it take a document away? A tombstone is the one document that stands for no keys."""
    return isinstance(write, Delete) or (
        isinstance(write, Put) and not write.keys and write.source.startswith(_TOMBSTONE)
    )
