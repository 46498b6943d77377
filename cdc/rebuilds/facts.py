"""Facts: the things that a rebuild tells while it goes on, and at its end."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from cdc.known_types import know
from cdc.sinks.opensearch.memory import RebuildNote
from cdc.verification.findings import Findings

__all__ = ["Joined", "RebuildBegan", "RebuildResult", "RebuildStep"]


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
    findings: tuple[Findings, ...]
    """Those of each table."""


class Joined(msgspec.Struct, frozen=True):
    """The record of the step in which both became members."""

    at: float
    """In seconds since 1970."""


know(RebuildNote, Joined)
