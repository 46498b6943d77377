"""Writes: what a change does to one document."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

__all__ = ["Delete", "Put", "Write"]


class Put(msgspec.Struct, frozen=True):
    """Write `source` (a JSON object) as the document.

    `keys`: its fields that stand for key attributes. `unfit`: its fields whose names no index takes. `may_set_aside`:
    does the mapping let what the index refuses be set aside?
    """

    index: str
    id: str
    routing: str | None
    version: int
    source: bytes
    keys: Collection[str] = ()
    unfit: tuple[str, ...] = ()
    may_set_aside: bool = False


class Delete(msgspec.Struct, frozen=True):
    """Remove the document."""

    index: str
    id: str
    routing: str | None
    version: int


Write = Put | Delete
