"""Writes: what a change does to one document."""

from __future__ import annotations

import msgspec

__all__ = ["Delete", "Put", "Write"]


class Put(msgspec.Struct, frozen=True):
    """Write `source` (a JSON object) as the document."""

    index: str
    id: str
    routing: str | None
    version: int
    source: bytes


class Delete(msgspec.Struct, frozen=True):
    """Remove the document."""

    index: str
    id: str
    routing: str | None
    version: int


Write = Put | Delete
