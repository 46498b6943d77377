"""Infer: from a table to a mapping file."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from cdc.deadline import Clock
from cdc.inference.evidence import evidence_of
from cdc.inference.kinds import kinds_of
from cdc.inference.writing import KindEvidence, index_name, mapping_text
from cdc.loads.table import TablePages
from cdc.records.attributes import RawItem
from cdc.verification.patience import ReadUnits
from cdc.verification.sampling import ItemSample

__all__ = ["Inferred", "infer_mapping"]


class InferredKind(msgspec.Struct, frozen=True):
    """A kind of items that was found."""

    index: str
    described: str
    items: int
    """Items of the sample."""
    paths: int


class Inferred(msgspec.Struct, frozen=True):
    """A mapping file, and what it was made from."""

    table: str
    sample: int
    """Items that were read."""
    read_units: float
    kinds: tuple[InferredKind, ...]
    text: str
    """The file; it holds no value of any item but the beginnings of keys."""


@dataclass(frozen=True)
class _Waits:
    clock: Clock
    sleep: Callable[[float], None]


def infer_mapping(
    pages: TablePages,
    table: str,
    *,
    sample: int = 1000,
    seed: int | None = None,
    max_read_units: float | None = None,
    clock: Clock = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.time,
    observe: Callable[[int], None] = lambda _items: None,
) -> Inferred:
    """Read items of random parts of the table, and write a mapping file for them.

    Args:
        sample: so many items are read, or all there are.
        max_read_units: a second.
        observe: is told how many items were read so far.

    Raises:
        ConfigError: there is no such table, or it may not be read.
        SinkUnavailable: it refuses, or has been out of reach for ten minutes.
    """
    source = pages.describe(table)
    units = ReadUnits(_Waits(clock, sleep), max_read_units)
    items: list[RawItem] = []
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    for item in ItemSample(pages, units, source).items(sample, chance):
        items.append(item)
        observe(len(items))
    kinds = kinds_of(items, source.keys)
    sorted_in: dict[str, list[RawItem]] = {kind.name: [] for kind in kinds.kinds}
    for item in items:
        sorted_in[kinds.of(item).name].append(item)
    found = [
        KindEvidence(kind, len(of), evidence_of(of)) for kind, of in zip(kinds.kinds, sorted_in.values(), strict=True)
    ]
    text = mapping_text(table, _head(table, len(items), source.item_count, now()), found)
    told = tuple(
        InferredKind(index_name(table, one.kind.name), one.kind.described, one.items, len(one.evidence))
        for one in found
    )
    return Inferred(table, len(items), units.spent, told, text)


def _head(table: str, sample: int, items: int, now: float) -> Sequence[str]:
    about = f" of about {items:,}" if items else ""
    day = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"
    return [
        f"Inferred on {day} from {sample:,} random items{about} of the table {table}.",
        "Shares are of the items of a kind. No value of an item is here, but the beginnings of keys.",
        "Look it through, then: cdc mappings check FILE, and cdc backfill --table TABLE --plan-only",
    ]
