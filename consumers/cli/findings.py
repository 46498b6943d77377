"""Findings on a terminal: the verdict, the classes, some examples field by field, the price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cdc.duration import spoken
from cdc.verification.findings import Difference, DifferenceClass, Findings
from cdc.verification.sides import Sides, cut, sides_of
from cdc.verification.wording import CLASSES, besides, compared, effort, headline, is_repaired, scope, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

__all__ = ["print_findings"]

_EXAMPLES = 5
_FIELDS = 6
_CHARACTERS = 240
_COLORS = {"equal": "green", "missing": "red", "ghost": "magenta", "stale": "yellow", "foreign": "red", "shape": "cyan"}


def print_findings(findings: Findings, console: Console) -> None:
    """Print findings for people. Examples quote items, so they are shown at a terminal only: elsewhere the output may
    be kept as a log."""
    from rich.text import Text

    good = not findings.left and (not findings.differences or is_repaired(findings))
    console.print(Text(headline(findings), style="bold green" if good else "bold red"))
    console.print()
    console.print(_classes(findings))
    for example in _chosen(findings) if console.is_terminal else ():
        console.print()
        for line in _example(example):
            console.print(line)
    console.print()
    if findings.examples and not console.is_terminal:
        console.print("examples quote items: they are shown at a terminal, by --html and by --json")
    for line in _bill(findings):
        console.print(Text(line, style="dim", overflow="fold"))


def _classes(findings: Findings) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("class", no_wrap=True)
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    table.add_row(Text("equal", style="green"), f"{findings.equal:,}", f"of {compared(findings):,} compared")
    for kind, words in CLASSES.items():
        count = findings.counts.get(kind, 0)
        told = Text(words.meaning)
        if count:
            told.append(f" {words.remedy.replace('`', '')}", style="bold")
        style = _COLORS.get(kind, "") if count else "dim"
        table.add_row(Text(kind, style=style), Text(f"{count:,}", style=style), told, style="" if count else "dim")
    for name, (meaning, count) in besides(findings).items():
        if count:
            table.add_row(name, f"{count:,}", meaning)
    return table


def _chosen(findings: Findings) -> list[Difference]:
    """Some examples, of as many classes as there are, in the order of the classes."""
    by_class = {kind: [one for one in findings.examples if one.kind == kind] for kind in CLASSES}
    chosen: list[Difference] = []
    while len(chosen) < _EXAMPLES and any(by_class.values()):
        for examples in by_class.values():
            if examples and len(chosen) < _EXAMPLES:
                chosen.append(examples.pop(0))
    order: list[DifferenceClass] = list(CLASSES)
    return sorted(chosen, key=lambda one: order.index(one.kind))


def _example(one: Difference) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    version = "no document" if one.version is None else f"version {one.version}"
    head = Text(f"{one.kind} ", style=_COLORS.get(one.kind, ""), overflow="fold")
    head.append(f"{visible(one.index)}/{visible(one.id)}", style="bold")
    head.append(f"  {version}", style="dim")
    yield head
    for line in (one.reason, one.letter and f"dead letter {one.letter}"):
        if line:
            yield Padding(Text(visible(line), overflow="fold"), (0, 0, 0, 2))
    if one.expected is None or one.found is None:
        return
    differing = [side for side in sides_of(one.expected, one.found) if side.differs]
    for side in differing[:_FIELDS]:
        yield Padding(_field(side), (0, 0, 0, 2))
    if len(differing) > _FIELDS:
        yield Padding(
            Text(f"and {len(differing) - _FIELDS:,} more fields: --html shows them", style="dim"), (0, 0, 0, 2)
        )


def _field(side: Sides) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row("  item", _value(side.expected, side.found, "green"))
    grid.add_row("  index", _value(side.found, side.expected, "red"))
    return Group(Text(side.path or "the whole", style="dim", overflow="fold"), grid)


def _value(value: str | None, other: str | None, color: str) -> Text:
    from rich.text import Text

    if value is None:
        return Text("absent", style="italic")
    parts = cut(value, other, _CHARACTERS)
    text = Text(parts.before)
    text.append(parts.differing, style=f"bold {color}" if other is not None else color)
    return text.append(parts.after)


def _bill(findings: Findings) -> Iterator[str]:
    took = spoken((findings.ended_at - findings.began_at).total_seconds())
    what = "ids and contents" if findings.with_content else "ids"
    yield f"{findings.items:,} items and {findings.documents:,} documents read in {took}; {effort(findings)}"
    yield f"compared: {what} of {scope(findings)}"
    if is_repaired(findings):
        mended = ", ".join(f"{count:,} {name}" for name, count in findings.repaired.items() if count) or "none"
        yield f"mended: {mended}; left over: {findings.left:,}"
