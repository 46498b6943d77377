"""The page of a mapping's diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdc.rebuilds.diff_tables import notes_of, tables_of
from cdc.rebuilds.mapping_diff import MappingDiff
from cdc.rebuilds.page import page_of, table_of, text_of

__all__ = ["html_of_diffs"]


def html_of_diffs(diffs: Sequence[MappingDiff]) -> str:
    """The diffs of some indices as one HTML page for people."""
    changed = [diff for diff in diffs if diff.changes]
    headline = "Nothing has to be rebuilt"
    if changed:
        headline = f"To be rebuilt: {', '.join(dict.fromkeys(diff.index for diff in changed))}"
    about = f"Mapping files tried on {sum(diff.items for diff in diffs):,} real items"
    return page_of(
        "Mapping diff", about, headline, (part for diff in diffs for part in _parts(diff)), is_good=not changed
    )


def _parts(diff: MappingDiff) -> Iterator[str]:
    yield f"<section><h2>{text_of(diff.index)} from {text_of(diff.table)}</h2>\n<article>"
    yield f'<p class="verdict {"bad" if diff.changes else "good"}">{text_of(diff.verdict)}</p>\n'
    for note in notes_of(diff):
        yield f'<p class="note">{text_of(note)}</p>\n'
    if diff.changes:
        yield f'<p class="note"><code>{text_of(diff.remedy)}</code></p>\n'
    yield "</article>\n"
    for table in tables_of(diff):
        rows = table_of(table.columns, table.rows, table.numbers)
        yield f"<article><h4>{text_of(table.title)}</h4>\n{rows}</article>\n"
    yield "</section>\n"
