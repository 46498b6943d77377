"""Documents read back: an index page by page at one point in time, and single documents as they stand now.

Sources are bytes as OpenSearch holds them: a parser that reads numbers as floats would lose digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

__all__ = ["DocumentReader", "FoundDocument"]


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
