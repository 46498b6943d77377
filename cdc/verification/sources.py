"""Sources: which versions the streams that an index remembers explain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from cdc.records.stream import Stream
from cdc.records.versions import is_below_all_streams, minute_at, minute_of_version
from cdc.sinks.opensearch.documents import DocumentReader, RemembersSources
from cdc.sinks.opensearch.provenance import RememberedSource

__all__ = ["KnownSources", "Origin"]

_CLOCKS_DIFFER_MINUTES = 2


class Origin(Enum):
    """Where a document's version comes from."""

    OURS = "ours"
    BELOW = "below"
    """Another program's: below all that our sources write."""
    ABOVE = "above"
    """Another program's: above all that our sources write, so that their changes lose."""


@dataclass
class KnownSources:
    """The sources of a table in its indices: what each index remembers, and the stream that is on."""

    documents: DocumentReader
    stream: Stream
    now: Callable[[], float]
    _known: dict[str, Mapping[str, list[RememberedSource]]] = field(default_factory=dict)

    def look(self, index: str) -> None:
        """Read what the index remembers; again, since a stream may have been switched on meanwhile."""
        remembered = self.documents.sources(index) if isinstance(self.documents, RemembersSources) else {}
        self._known[index] = {table: list(sources) for table, sources in remembered.items()}

    def _of(self, index: str) -> Mapping[str, list[RememberedSource]]:
        if index not in self._known:
            self.look(index)
        return self._known[index]

    def is_shared(self, index: str) -> bool:
        """Do other tables write to the index too?"""
        return any(table != self.stream.table for table in self._of(index))

    def origin(self, index: str, version: int) -> Origin:
        """Where a version comes from. In doubt it is ours."""
        lowest, highest = self.bounds(index)
        return Origin.ABOVE if version > highest else Origin.BELOW if version < lowest else Origin.OURS

    def bounds(self, index: str) -> tuple[int, int]:
        """The lowest and the highest version that our sources explain."""
        sources = self._of(index).get(self.stream.table, [])
        newest = max([-1, *(source.minute for source in sources), *_minute(self.stream)])
        if self.stream.minute is None or any(source.kinesis for source in sources):
            newest = max(newest, minute_at(self.now()) + _CLOCKS_DIFFER_MINUTES)
        return (_LEAST if newest > 0 else 0), _greatest_of(newest)


def _minute(stream: Stream) -> list[int]:
    return [] if stream.minute is None else [max(0, stream.minute)]


def _greatest_of(minute: int) -> int:
    return (max(0, minute) + 1 << _BITS) - 1


_BITS = next(bits for bits in range(64) if minute_of_version(1 << bits) == 1)
_LEAST = next(1 << bits for bits in range(64) if not is_below_all_streams(1 << bits))
