"""A titled table of texts for a terminal, with nothing in it that could steer that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdc.verification.wording import visible

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["plain_table"]

_MOST_ROWS = 40


def plain_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()
) -> Table:
    """A table of Rich's; of long ones the beginning.

    Args:
        numbers: the places of columns that are aligned to the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        title=Text(visible(title)),
        title_justify="left",
        title_style="bold",
        min_width=len(title),
    )
    for place, name in enumerate(columns):
        table.add_column(name, overflow="fold", justify="right" if place in numbers else "left")
    for row in rows[:_MOST_ROWS]:
        table.add_row(*(Text(visible(cell)) for cell in row))
    if len(rows) > _MOST_ROWS:
        table.add_row(Text(f"and {len(rows) - _MOST_ROWS:,} more: --json and --html show them", style="dim"))
    return table
