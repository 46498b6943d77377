"""Sinks in memory: one that behaves as an index with external versions, one that says what it is told to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cdc.deadline import Deadline
from cdc.outcome import Applied, Outcome, Superseded
from cdc.records.change import Change, Operation

__all__ = ["MemorySink", "ScriptedSink"]


class MemorySink:
    """Holds each item at the version of the last change; remembers the versions of removed ones for ever."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self._versions: dict[str, int] = {}
        self._items: dict[str, dict[str, Any]] = {}

    @property
    def items(self) -> dict[str, dict[str, Any]]:
        """The items held now, by the digest of the keys."""
        return dict(self._items)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Apply each change unless something newer is held."""
        return [self._apply(change) for change in changes]

    def _apply(self, change: Change) -> Outcome:
        key = change.identity.digest
        if self._versions.get(key, -1) > change.version:
            return Superseded()
        self._versions[key] = change.version
        if change.operation is Operation.REMOVE:
            self._items.pop(key, None)
        else:
            self._items[key] = change.after or {}
        return Applied()

    def flush(self, deadline: Deadline) -> None:
        """Memory is as durable as it gets here."""

    def close(self) -> None:
        """Holds no connection."""


class ScriptedSink:
    """Answers each change as `script` says, and keeps what it was given: for tests of what stands around a sink."""

    def __init__(self, script: Callable[[Change], Outcome], name: str = "scripted") -> None:
        self.name = name
        self.written: list[Change] = []
        self.flushes = 0
        self._script = script

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Answer each change as the script says."""
        self.written += changes
        return [self._script(change) for change in changes]

    def flush(self, deadline: Deadline) -> None:
        """Counted."""
        self.flushes += 1

    def close(self) -> None:
        """Holds no connection."""
