"""Plans: a load, cut into units that can be done in any order, again, and by several at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from cdc.known_types import know
from cdc.loads.export import Export
from cdc.loads.table import SourceTable
from cdc.records.attributes import RawItem
from cdc.records.stream import Stream

__all__ = ["Cursor", "Plan", "Unit", "segments_of", "units_of", "units_of_export"]

_SEGMENT_BYTES = 32 * 1024 * 1024
_MOST_SEGMENTS = 100_000  # Amazon DynamoDB API Reference, "Scan": TotalSegments is at most 1,000,000
_SEGMENTS_A_WORKER, _MOST_SMALL_SEGMENTS_A_WORKER = 4, 16
_SMALL_SEGMENT_BYTES = 950_000
"""On average: segments differ in size, and nearly all of these are read by one request of 1 MB."""


class Unit(msgspec.Struct, frozen=True):
    """One part of a load: a segment of the table, or a data file of an export."""

    name: str
    segment: int = 0
    segments: int = 1
    file: str = ""
    """The key of a data file; empty: a segment."""


class Plan(msgspec.Struct, frozen=True):
    """All that a load has to know to be taken up again. Its units stand beside it."""

    job: str
    table: str
    table_id: str
    stream: str
    """The ARN of the stream whose records all outrank what is loaded."""
    began_at: datetime
    """No read of this load began before: the archive is replayed from here."""
    mapping: str
    """The digest of the mapping that makes the documents."""
    indices: tuple[str, ...]
    units: int
    items: int
    """DynamoDB's own estimate, up to six hours old."""
    size_bytes: int
    read_units: float
    dollars: float
    export: Export | None = None
    """The export that is loaded; None: the table is scanned."""

    def stream_of_table(self) -> Stream:
        """The stream."""
        return Stream.kinesis(self.stream, self.table) if ":kinesis:" in self.stream else Stream.dynamodb(self.stream)


class Cursor(msgspec.Struct, frozen=True):
    """How far a unit is done: everything before is durable in the index, or kept as a dead letter."""

    unit: str
    after: RawItem | None = None
    """The key to go on after."""
    lines: int = 0
    """Items of a data file that are done."""
    done: bool = False
    items: int = 0
    outcomes: dict[str, int] = {}
    """How many items ended in each outcome, by its name."""
    read_units: float = 0.0
    first_read: int | None = None
    last_read: int | None = None
    """When its first and last pages were read, in microseconds since 1970."""


know(Unit, Plan, Cursor)


def segments_of(table: SourceTable, workers: int) -> int:
    """How many segments a table is cut into: many more than workers, so that none waits for a large one.

    Those of a small table are a page each: one that is little longer would be read by two requests, for a page and for
    a few items.
    """
    pages = min(-(-table.size_bytes // _SMALL_SEGMENT_BYTES), workers * _MOST_SMALL_SEGMENTS_A_WORKER)
    return min(_MOST_SEGMENTS, max(workers * _SEGMENTS_A_WORKER, pages, -(-table.size_bytes // _SEGMENT_BYTES)))


def units_of_export(export: Export) -> Sequence[Unit]:
    """The units of an export: its data files."""
    return [Unit(f"file-{number:06d}", file=file.key) for number, file in enumerate(export.files)]


def units_of(segments: int) -> Sequence[Unit]:
    """The units of a scan."""
    return [Unit(f"segment-{segment:06d}", segment, segments) for segment in range(segments)]
