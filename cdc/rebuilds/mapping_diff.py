"""MappingDiff: what a mapping file would change in an index, as a sample of real items shows it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["DocumentField", "MappingDiff", "Refusal", "RuleChange", "TypeChange"]


class TypeChange(msgspec.Struct, frozen=True):
    """A field of the index, or a setting, that would be another one."""

    path: str
    before: str
    """Its type, with the parameters that differ where the type is the same; empty: there is none."""
    after: str


class DocumentField(msgspec.Struct, frozen=True):
    """A field that documents of the sample would get, lose, or have another value in."""

    path: str
    """Dotted; of a list, the path that its elements have in common."""
    change: Literal["added", "removed", "changed"]
    documents: int


class Refusal(msgspec.Struct, frozen=True):
    """A reason for which a new index, or the mapping, would not take documents of the sample as they are."""

    problem: str
    """Names field and types; quotes no value."""
    becomes: Literal["set aside", "dead letter"]
    """The consequence: the field alone is set aside, or the document is a dead letter."""
    documents: int
    new: int
    """So many of these documents are whole in the index of today."""


class RuleChange(msgspec.Struct, frozen=True):
    """A difference between the mapping file and what the index remembers of the one that has made its documents."""

    text: str
    leaves: str
    """Documents that stay wrong in the index, if it is not rebuilt."""


class MappingDiff(msgspec.Struct, frozen=True):
    """The changes that a rebuild of an index by the mapping file of now would make. It quotes no values of items."""

    table: str
    index: str
    """The name in the mapping."""
    concrete: str
    """The index that it stands for."""
    source: str
    """The mapping file."""
    items: int
    """Items of the sample; those that were gone at the second look do not count."""
    before: int
    """Documents that these have in the index now."""
    after: int
    """Documents that they would have."""
    rules: tuple[RuleChange, ...] = ()
    appear: int = 0
    """Items without a document that would have one."""
    vanish: int = 0
    """Items with a document that would have none."""
    new_ids: int = 0
    new_routings: int = 0
    doubles: int = 0
    """Documents that an earlier mapping has left behind, beside those of the same items."""
    types: tuple[TypeChange, ...] = ()
    unsure: tuple[TypeChange, ...] = ()
    """Fields that got their type from the first value that came; another load may give them another one. No change."""
    settings: tuple[TypeChange, ...] = ()
    fields: tuple[DocumentField, ...] = ()
    refused: tuple[Refusal, ...] = ()
    taken_again: int = 0
    """Documents with fields that are set aside now, and would not be."""
    missing: int = 0
    """Items that should have a document already, and have none: no change, the index is not equal to its table."""
    body_differs: bool = False
    """The index was made with another body than the mapping file's."""
    remembers: bool = True
    """Does the index remember which mapping has made its documents? Else ids are taken to be those of now."""
    others: tuple[str, ...] = ()
    """Other tables that write to the index: their items are not in the sample."""
    ids: dict[str, tuple[str, ...]] = {}
    """Some ids of each kind (`appear`, `vanish`, `new_ids`, `new_routings`, `refused`), where they were asked for."""

    @property
    def changes(self) -> int:
        """How many kinds of things would change; 0: nothing has to be rebuilt."""
        counts = (self.appear, self.vanish, self.new_ids, self.new_routings, self.doubles, self.taken_again)
        lists: tuple[tuple[object, ...], ...] = (self.rules, self.types, self.settings, self.fields)
        return sum(map(bool, (*counts, self._refused, *lists)))

    @property
    def verdict(self) -> str:
        """One line for people."""
        if not self.changes:
            return f"{self.index}: nothing would change, by {self.items:,} items of {self.table}"
        told = [
            f"{count:,} {one if count == 1 else several}"
            for count, one, several in (
                (len(self.types), "field of another type", "fields of another type"),
                (len(self.settings), "other setting", "other settings"),
                (self.appear, "document appears", "documents appear"),
                (self.vanish, "document vanishes", "documents vanish"),
                (self.new_ids, "other id", "other ids"),
                (self.new_routings, "other routing", "other routings"),
                (self.doubles, "double vanishes", "doubles vanish"),
                (len(self.fields), "other field in documents", "other fields in documents"),
                (self._refused, "document refused in part or whole", "documents refused in part or whole"),
                (self.taken_again, "document taken whole again", "documents taken whole again"),
            )
            if count
        ]
        return f"{self.index}: {', '.join(told) or 'the mapping differs'}, by {self.items:,} items of {self.table}"

    @property
    def _refused(self) -> int:
        return sum(one.new for one in self.refused)

    @property
    def remedy(self) -> str:
        """The command that follows, or that none has to."""
        return f"cdc rebuild --index {self.index}" if self.changes else "nothing has to be rebuilt"

    def to_builtins(self) -> dict[str, Any]:
        """The report for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return {**found, "changes": self.changes, "verdict": self.verdict, "remedy": self.remedy}
