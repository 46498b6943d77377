"""Findings: what a verification says of a table and its indices."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from cdc.records.attributes import RawItem

__all__ = ["Difference", "DifferenceClass", "Findings", "Price"]


class DifferenceClass(StrEnum):
    """The kinds of differences between a table and an index."""

    MISSING = "missing"
    """The item should have a document, and has none."""
    GHOST = "ghost"
    """A document without an item, or of an item that the mapping does not take."""
    STALE = "stale"
    """The document's content is not what the item says, and no value explains it."""
    FOREIGN = "foreign"
    """The document's version is of no source that the index remembers: another program wrote it."""
    SHAPE = "shape"
    """The values are right; an older mapping made the document."""
    KEPT = "kept"
    """A dead letter explains the difference."""


class Difference(msgspec.Struct, frozen=True):
    """One document that differs, seen twice. It may quote an item: it is for who may read the table."""

    kind: DifferenceClass
    index: str
    id: str
    keys: RawItem | None = None
    version: int | None = None
    """The document's version; None where there is no document."""
    expected: str | None = None
    """The JSON that the item makes."""
    found: str | None = None
    """The JSON that the index holds."""
    reason: str = ""
    """For people: what differs, and why, where it is known. Names fields, quotes no values."""
    letter: str = ""
    """The name of the dead letter that explains it."""


class Price(msgspec.Struct, frozen=True):
    """The cost of reading."""

    read_units: float = 0.0
    dollars: float = 0.0


class Findings(msgspec.Struct, frozen=True):
    """The result of a verification."""

    table: str
    indices: tuple[str, ...]
    with_content: bool
    began_at: datetime
    ended_at: datetime
    items: int
    """Items read."""
    documents: int
    """Documents read."""
    equal: int
    counts: dict[str, int]
    """How many of each class of differences, by the class's name; a class that is absent has none."""
    set_aside: int = 0
    """Documents that are right, with fields set aside since OpenSearch could not take them."""
    unsettled: int = 0
    """Documents that changed at each look: no difference, but not seen equal either."""
    untold: int = 0
    """Documents left out since neither id nor fields tell their items, and the table was not to be read for them."""
    sampled: bool = False
    examples: tuple[Difference, ...] = ()
    """Some of each class."""
    price: Price = Price()
    repaired: dict[str, int] = {}
    """How many of each class were mended."""
    left: int = 0
    """Differences that a repair left over."""

    @property
    def differences(self) -> int:
        """How many differences there are; those that a dead letter explains do not count."""
        return sum(count for name, count in self.counts.items() if name != DifferenceClass.KEPT)

    @property
    def remaining(self) -> int:
        """The differences that were not mended."""
        return self.differences - sum(self.repaired.values())

    @property
    def verdict(self) -> str:
        """One line for people, of what stands after a repair: `12,431,007 items equal, 0 missing, 0 ghosts, 0 stale; 3
        dead letters`."""
        counts = {name: count - self.repaired.get(name, 0) for name, count in self.counts.items()}
        mended = sum(count for name, count in self.repaired.items() if name != DifferenceClass.GHOST)
        shown = [
            f"{self.equal + mended:,} items equal",
            f"{counts.get('missing', 0):,} missing",
            f"{counts.get('ghost', 0):,} ghosts",
            f"{counts.get('stale', 0):,} stale",
            *(f"{counts[name]:,} {name}" for name in ("foreign", "shape") if counts.get(name)),
            *([f"{self.unsettled:,} changing all the time"] if self.unsettled else []),
        ]
        return ", ".join(shown) + f"; {counts.get('kept', 0):,} dead letters"

    def to_json(self) -> bytes:
        """The findings as JSON, for machines."""
        facts = {**msgspec.structs.asdict(self), "differences": self.differences, "verdict": self.verdict}
        return msgspec.json.encode(facts, enc_hook=_plain)


def _plain(value: Any) -> Any:
    return str(value)
