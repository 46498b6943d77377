"""DocumentWriter: what the index asks of a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cdc.mappings.model import TableMapping
from cdc.mappings.writes import Write
from cdc.outcome import Rejected
from cdc.records.change import Change

__all__ = ["DocumentWriter"]


class DocumentWriter(Protocol):
    """Says which writes a change makes: a compiled mapping, or a part of one."""

    @property
    def mapping(self) -> TableMapping:
        """The mapping as it was read."""
        ...

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        """The writes that the change makes; Rejected: a document that can't be made of it."""
        ...
