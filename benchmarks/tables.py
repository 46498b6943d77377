"""Results as tables for people, as Markdown for the documentation, as JSON for machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.table import Table

from benchmarks.results import Figure, Goal, Result, Spread

__all__ = ["as_json", "goals_markdown", "goals_table", "markdown", "table"]

_COLOURS = {"met": "green", "near": "yellow", "missed": "red"}


def table(result: Result) -> Table:
    """A case's table; its notes are the caption."""
    drawn = Table(title=result.title, title_justify="left", caption="\n".join(result.notes), caption_justify="left")
    drawn.add_column("")
    for column in _columns(result):
        drawn.add_column(column, justify="right")
    for row in result.rows:
        drawn.add_row(row.name, *[_text(row.figures.get(column, "")) for column in _columns(result)])
    return drawn


def goals_table(results: Sequence[Result]) -> Table:
    """Every goal: what was measured, and whether that is enough."""
    drawn = Table(title="Goals", title_justify="left")
    for column in ("goal", "measured", "verdict"):
        drawn.add_column(column, justify="left" if column == "goal" else "right")
    for goal in _goals(results):
        drawn.add_row(goal.text, _number(goal.measured), f"[{_COLOURS[goal.verdict]}]{goal.verdict}[/]")
    return drawn


def markdown(result: Result) -> str:
    """A case's table in Markdown."""
    columns = _columns(result)
    lines = [f"**{result.title}**", "", _line(["", *columns]), _line(["---", *["---:"] * len(columns)])]
    lines += [_line([row.name, *[_text(row.figures.get(column, "")) for column in columns]]) for row in result.rows]
    lines += [f"\n{note}" for note in result.notes]
    return "\n".join(lines) + "\n"


def goals_markdown(results: Sequence[Result]) -> str:
    """The table of goals in Markdown."""
    lines = ["## Goals", "", _line(["goal", "measured", "verdict"]), _line(["---", "---:", "---"])]
    lines += [_line([goal.text, _number(goal.measured), goal.verdict]) for goal in _goals(results)]
    return "\n".join(lines) + "\n"


def as_json(
    results: Mapping[str, Sequence[Result]], skipped: Mapping[str, str], machine: Mapping[str, str], *, quick: bool
) -> bytes:
    """One object: the machine, each case's tables, every goal with its verdict, what was not measured and why."""
    goals = [
        {"case": name, **dataclasses.asdict(goal), "share": goal.share, "verdict": goal.verdict}
        for name, many in results.items()
        for goal in _goals(many)
    ]
    cases = {name: [_plain(result) for result in many] for name, many in results.items()}
    return orjson.dumps({"machine": machine, "quick": quick, "cases": cases, "skipped": skipped, "goals": goals})


def _plain(result: Result) -> dict[str, Any]:
    rows = [{"name": row.name, **row.figures} for row in result.rows]
    return {"title": result.title, "rows": rows, "notes": result.notes}


def _goals(results: Sequence[Result]) -> list[Goal]:
    return [goal for result in results for goal in result.goals]


def _columns(result: Result) -> list[str]:
    return list(dict.fromkeys(column for row in result.rows for column in row.figures))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(figure: Figure) -> str:
    if isinstance(figure, Spread):
        return f"{_number(figure.median)} ({_number(figure.low)}–{_number(figure.high)})"
    return figure if isinstance(figure, str) else _number(figure)


def _number(value: float) -> str:
    """Three digits that mean something."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
