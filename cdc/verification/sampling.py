"""Sampling: items drawn from the beginnings of random parts of a table."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cdc.loads.deployment import Deployment
from cdc.loads.table import SourceTable, TablePages
from cdc.records.attributes import RawItem
from cdc.verification.patience import ReadUnits, patiently

__all__ = ["ItemSample", "documents_counted"]

_ITEMS_OF_A_SEGMENT = 20
"""So many items of a sample are taken from one place of the table."""
_MOST_SEGMENTS = 1_000_000
"""Amazon DynamoDB API Reference, "Scan": TotalSegments."""


@dataclass(frozen=True)
class ItemSample:
    """Draws items of a table."""

    pages: TablePages
    units: ReadUnits
    source: SourceTable
    counted: Callable[[], int] = lambda: 0
    """About so many items has a table that is too young to have a count of its own."""

    def items(self, size: int, chance: random.Random) -> Iterator[RawItem]:
        """At most `size` items; fewer where the table has not so many.

        Raises:
            SinkUnavailable: the table refuses, or it has been out of reach for ten minutes.
        """
        # of another size each time: else what lies behind the beginnings is never drawn, however often one looks
        size_of_part = chance.randint(_ITEMS_OF_A_SEGMENT // 2, _ITEMS_OF_A_SEGMENT)
        segments = max(1, min(_MOST_SEGMENTS, (self.source.item_count or self.counted()) // size_of_part))
        parts = list(range(segments)) if segments <= size else chance.sample(range(segments), size)
        chance.shuffle(parts)
        most = max(_ITEMS_OF_A_SEGMENT, -(-size // segments))
        drawn = 0
        for part in parts:
            for item in self._beginning(part, segments, min(most, size - drawn)):
                drawn += 1
                yield item

    def _beginning(self, part: int, segments: int, size: int) -> Iterator[RawItem]:
        """The leading items of a part of the table, `size` at most."""
        after: RawItem | None = None
        while size > 0:
            page = self.units.page(partial(self.pages.page, self.source.name, part, segments, after, limit=size))
            yield from page.items
            size -= len(page.items)
            if page.after is None:
                return
            after = page.after


def documents_counted(deployment: Deployment, indices: Sequence[str]) -> Callable[[], int]:
    """How many documents the largest of the indices has, asked for when it is called."""
    return lambda: max(patiently(deployment, partial(deployment.documents.count, index)) for index in indices)
