"""`python -m benchmarks`: run the cases, print their tables and the goals."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated

import orjson
import typer
from rich.console import Console

from benchmarks.results import CannotRun, Result
from benchmarks.tables import as_json, goals_markdown, goals_table, markdown, table

CASES = ("record", "handler", "growth", "kcl", "end_to_end", "in_flight", "backfill", "cold_start")
"""Modules of this folder, in the order in which they run."""

_FOLDER = Path(__file__).parent
_HISTORY = Path("build/benchmarks")

_screen = Console()
_errors = Console(stderr=True)
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command()
def main(
    cases: Annotated[
        list[str] | None, typer.Argument(help=f"Which cases: {', '.join(CASES)}. All without any.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A short form of each, for breakage only.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
) -> None:
    """Ours beside what people would write instead: ratios measured in one run.

    [bold]Example[/bold]: python -m benchmarks record --quick
    """
    known = [name for name in CASES if (_FOLDER / f"{name}.py").is_file()]
    unknown = [name for name in cases or () if name not in known]
    if unknown:
        _errors.print(f"[red]there is no case {unknown[0]!r}; there are {', '.join(known)}[/red]")
        raise typer.Exit(2)
    began = time.monotonic()
    found: dict[str, list[Result]] = {}
    skipped: dict[str, str] = {}
    for name in cases or known:
        module = importlib.import_module(f"benchmarks.{name}")
        found[name] = []
        try:
            for result in _told(module, quick=quick, json=json, as_markdown=as_markdown):
                found[name].append(result)
        except CannotRun as error:
            skipped[name] = str(error)
            _errors.print(f"[yellow]{name}: not measured: {error}[/yellow]")
    results = [result for many in found.values() for result in many]
    report = as_json(found, skipped, _machine(), quick=quick)
    _keep(report)
    if json:
        print(report.decode())
    elif as_markdown:
        print(goals_markdown(results))
        print(f"{_line(_machine())}\n")
    else:
        _screen.print(goals_table(results))
        _screen.print(f"{_line(_machine())}; {time.monotonic() - began:.0f} s")
    _warn(results)


def _told(module: ModuleType, *, quick: bool, json: bool, as_markdown: bool) -> Iterator[Result]:
    if not json:
        _screen.print(f"\n## {module.TITLE}\n" if as_markdown else f"\n[bold]{module.TITLE}[/bold]", highlight=False)
    for result in module.run(quick):
        if as_markdown:
            print(markdown(result), flush=True)
        elif not json:
            _screen.print(table(result))
        yield result


def _warn(results: Sequence[Result]) -> None:
    for goal in (goal for result in results for goal in result.goals if goal.is_far):
        _errors.print(
            f"[yellow]warning: {goal.text}: measured {goal.measured:.2f}, less than half of the goal[/yellow]"
        )


def _machine() -> dict[str, str]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M}Z",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
    }


def _processor() -> str:
    """Its name and how many there are, where Linux tells."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.processor()


def _line(machine: dict[str, str]) -> str:
    return ", ".join((machine["date"], f"Python {machine['python']}", machine["system"], machine["processor"]))


def _keep(report: bytes) -> None:
    """A run's figures stay beside those of earlier ones."""
    _HISTORY.mkdir(parents=True, exist_ok=True)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ.json")
    (_HISTORY / name).write_bytes(orjson.dumps(orjson.loads(report), option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    app()
