"""Diff tables: a mapping's diff as titled tables of texts, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdc.rebuilds.mapping_diff import MappingDiff, TypeChange

__all__ = ["DiffTable", "notes_of", "tables_of"]

_NONE = "—"


@dataclass(frozen=True, slots=True)
class DiffTable:
    """A titled table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: tuple[int, ...] = ()
    """The places of the columns that hold numbers."""


def notes_of(diff: MappingDiff) -> Iterator[str]:
    """Sentences about what was compared."""
    yield f"{diff.concrete}: {diff.before:,} documents of these items now, {diff.after:,} by {diff.source}"
    if not diff.remembers:
        yield "the index does not remember which mapping has made its documents: ids are taken to be those of now"
    if diff.others:
        yield f"the index holds documents of {', '.join(diff.others)} too, whose items are not in the sample"
    if diff.body_differs and not diff.types and not diff.settings:
        yield "its body is another than the mapping file's, and nothing of that shows here"
    if diff.missing:
        yield (
            f"items that should have a document already, and have none: {diff.missing:,}; look by "
            f"`cdc verify --table {diff.table}`"
        )


def tables_of(diff: MappingDiff) -> Iterator[DiffTable]:
    """The tables, of what there is; the last of them are no changes."""
    if diff.rules:
        rules = [(one.text, one.leaves) for one in diff.rules]
        yield DiffTable("Mapping file", ("difference", "without a rebuild"), rules)
    counts = [
        ("appear", diff.appear, "items without a document that would have one"),
        ("vanish", diff.vanish, "items with a document that would have none"),
        ("other ids", diff.new_ids, "documents of another id"),
        ("other routing", diff.new_routings, "documents that another routing places"),
        ("doubles", diff.doubles, "documents that an earlier mapping has left behind, and a rebuild has not"),
        ("whole again", diff.taken_again, "documents with fields set aside now, and then whole"),
    ]
    some = [(name, f"{count:,}", text) for name, count, text in counts if count]
    if some:
        yield DiffTable("Documents", ("change", "documents", "meaning"), some, (1,))
    if diff.types:
        yield DiffTable("Field types", ("field", "now", "then"), _rows(diff.types))
    if diff.settings:
        yield DiffTable("Settings", ("setting", "now", "then"), _rows(diff.settings))
    if diff.fields:
        fields = [(one.path, one.change, f"{one.documents:,}") for one in diff.fields]
        yield DiffTable("Fields of documents", ("field", "change", "documents"), fields, (2,))
    if diff.refused:
        refused = [(one.problem, one.becomes, f"{one.documents:,}", f"{one.new:,}") for one in diff.refused]
        yield DiffTable("Refused", ("reason", "becomes", "documents", "whole today"), refused, (2, 3))
    if diff.unsure:
        yield DiffTable(
            "No change: the first value that comes decides", ("field", "now", "in the trial"), _rows(diff.unsure)
        )
    if diff.ids:
        yield DiffTable("Some ids", ("of", "ids"), [(kind, ", ".join(found)) for kind, found in diff.ids.items()])


def _rows(changes: Sequence[TypeChange]) -> list[tuple[str, ...]]:
    return [(one.path, one.before or _NONE, one.after or _NONE) for one in changes]
