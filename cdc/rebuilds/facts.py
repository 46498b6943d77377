"""Facts: the things that a rebuild tells while it goes on, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from cdc.known_types import know
from cdc.sinks.opensearch.memory import RebuildNote
from cdc.verification.findings import Findings

__all__ = ["FillSource", "Joined", "RebuildBegan", "RebuildResult", "RebuildStep", "SourceKind", "Swapped"]


class SourceKind(StrEnum):
    """The places that a new index is filled from."""

    TABLE = "table"
    EXPORT = "export"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class FillSource:
    """Where the documents of a new index come from."""

    kind: SourceKind = SourceKind.TABLE
    export: str | None = None
    """A finished export: `s3://bucket/prefix/AWSDynamoDB/<id>`."""
    export_now: str | None = None
    """Where a new export is asked for: `s3://bucket/prefix`."""


@dataclass(frozen=True, slots=True)
class RebuildBegan:
    """The names of a rebuild, once it has any."""

    index: str
    note: RebuildNote


@dataclass(frozen=True, slots=True)
class RebuildStep:
    """A step begins; for people."""

    text: str


class RebuildResult(msgspec.Struct, frozen=True):
    """The end of a rebuild: searches see the new index, and the old one stands by."""

    index: str
    note: RebuildNote
    items: int
    """Those, or the archived changes, that it was filled from."""
    findings: tuple[Findings, ...]
    """Those of each table."""


class Joined(msgspec.Struct, frozen=True):
    """The record of the step in which both became members."""

    at: float
    """In seconds since 1970."""


class Swapped(msgspec.Struct, frozen=True):
    """The record of a swap, written before it: the proof that it rests on, and how long the old index is to be kept."""

    at: float
    """In seconds since 1970."""
    keep_seconds: float
    result: RebuildResult

    @property
    def kept_until(self) -> float:
        """In seconds since 1970."""
        return self.at + self.keep_seconds


know(RebuildNote, Joined, Swapped)
