"""A mapping's diff at a terminal: the verdict, tables of what would change, then what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc.rebuilds.diff_tables import notes_of, tables_of
from cdc.rebuilds.mapping_diff import MappingDiff
from cdc.verification.wording import visible
from consumers.cli.plain_table import plain_table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_diff"]


def print_diff(diff: MappingDiff, console: Console) -> None:
    """Print a diff for people. It shows ids where the diff has some, and never values of items."""
    from rich.text import Text

    console.print(Text(visible(diff.verdict), style="bold yellow" if diff.changes else "bold green"))
    for note in notes_of(diff):
        console.print(Text(visible(note), style="dim", overflow="fold"))
    for table in tables_of(diff):
        console.print()
        console.print(plain_table(table.title, table.columns, table.rows, table.numbers))
    console.print()
    console.print(Text(visible(diff.remedy), style="bold"))
