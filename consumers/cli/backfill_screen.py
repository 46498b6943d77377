"""The backfill on a terminal: plan and price, progress, the verdict; or JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cdc.loads.price import RunnerPrice, dollars_of_read_units, price_of_step_functions

if TYPE_CHECKING:
    from cdc.loads.backfill import Backfill, BackfillResult
    from cdc.loads.plan import Plan

__all__ = ["Screen", "print_status"]

_LINE_SECONDS = 5.0
_NEAR = 0.85
"""A rate this near to what is allowed is bound by it."""
_STEPS = {"load": "loading", "ghosts": "removing ghosts", "verify": "verifying"}


class Screen:
    """Shows a load as it goes on. Progress goes to standard error, results to standard output."""

    def __init__(self, *, as_json: bool, max_read_units: float | None = None, console: Console | None = None) -> None:
        self._max_units = max_read_units
        self._read_seconds = self._write_seconds = 0.0
        self._allowed: float | None = None
        self._as_json = as_json
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:16}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=as_json or not self._console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._began = self._told = time.monotonic()
        self._items, self._units = 0, 0.0
        self._outcomes: Counter[str] = Counter()

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def plan(self, plan: Plan) -> None:
        """Show the plan and its price."""
        if self._as_json:
            self._line({"plan": json.loads(_encoded(plan))})
            return
        megabytes = plan.size_bytes / 1_000_000
        source = f"the export {plan.export.location}" if plan.export else f"the table {plan.table}"
        self._console.print(
            f"load {plan.job}: {source} → {', '.join(plan.indices)}\n"
            f"  about {plan.items:,} items, {megabytes:,.1f} MB, {plan.read_units:,.0f} read units "
            f"(${plan.dollars:,.2f} on demand), in {plan.units:,} units; DynamoDB's figures are up to 6 hours old",
            highlight=False,
        )

    def runner(self, plan: Plan) -> None:
        """Show the price of doing the plan's units on Step Functions."""
        price = price_of_step_functions(plan.units, plan.items)
        if self._as_json:
            self._line({"runner": {"name": "step-functions", **json.loads(_encoded(price))}})
            return
        self._console.print(
            f"  on Step Functions: {price.transitions:,} state transitions, about {price.gigabyte_seconds:,.0f} GB "
            f"seconds of Lambda: ${price.dollars:,.2f}, beside the reading",
            highlight=False,
        )

    def observe(self, fact: object) -> None:
        """Take what the load tells."""
        from cdc.loads.backfill import StepBegan
        from cdc.loads.unit import PageDone

        match fact:
            case StepBegan(step=step, plan=plan):
                self._step(_STEPS[step], plan.items if step == "load" else None)
            case PageDone():
                self._items += fact.items
                self._units += fact.read_units
                self._outcomes.update(fact.outcomes)
                self._read_seconds += fact.read_seconds
                self._write_seconds += fact.write_seconds
                self._allowed = fact.allowed_units
                self._show()

    def _step(self, name: str, total: int | None) -> None:
        self._began = time.monotonic()
        if self._as_json:
            self._line({"step": name})
        elif not self._console.is_terminal:
            print(f"{name} …", file=sys.stderr, flush=True)
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(name, total=total, facts="")

    def _show(self) -> None:
        now = time.monotonic()
        seconds = max(now - self._began, 0.001)
        facts = {
            "items": self._items,
            "items_per_second": round(self._items / seconds, 1),
            "read_units_per_second": round(self._units / seconds, 1),
            "dollars": round(dollars_of_read_units(self._units), 4),
            "outcomes": dict(self._outcomes),
            "limited_by": self._limited_by(self._units / seconds),
        }
        text = (
            f"{self._items:,} items, {facts['items_per_second']:,.0f}/s, "
            f"{facts['read_units_per_second']:,.0f} units/s, ${facts['dollars']:,.4f}; limited by {facts['limited_by']}"
        )
        if self._task is not None:
            self._bars.update(self._task, completed=self._items, facts=text)
        if now - self._told >= _LINE_SECONDS:
            self._told = now
            if self._as_json:
                self._line({"progress": facts})
            elif not self._console.is_terminal:
                print(f"  {text}", file=sys.stderr, flush=True)

    def _limited_by(self, units_per_second: float) -> str:
        """The part that most of the time is waited for."""
        if self._allowed is not None and units_per_second >= _NEAR * self._allowed:
            return "--max-read-units" if self._allowed == self._max_units else "the table's throttling"
        return "OpenSearch" if self._write_seconds > self._read_seconds else "reading"

    def stopped(self, table: str) -> None:
        """Say how to go on."""
        if self._as_json:
            self._line({"stopped": True})
        self._console.print(f"stopped; go on with: cdc backfill resume --table {table}", highlight=False)

    def result(self, result: BackfillResult) -> None:
        """Show the bill and the verdict."""
        self._bars.stop()
        loaded, findings = result.loaded, result.findings
        if self._as_json:
            about = {"items": loaded.items, "outcomes": loaded.outcomes, "read_units": loaded.read_units}
            told = None if findings is None else json.loads(findings.to_json())
            self._line({"result": {**about, "removals": result.ghosts, "findings": told}})
            return
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(loaded.outcomes.items()))
        self._console.print(
            f"{loaded.items:,} items read ({counts}); {loaded.read_units:,.1f} read units, "
            f"${dollars_of_read_units(loaded.read_units):,.4f}; {result.ghosts:,} removals applied again",
            highlight=False,
        )
        print(findings.verdict if findings is not None else "not verified")

    @staticmethod
    def _line(facts: dict[str, Any]) -> None:
        print(json.dumps(facts), flush=True)


def print_status(backfill: Backfill, table: str, *, as_json: bool) -> None:
    """Print the loads of a table, the newest last."""
    rows = [_status(backfill, table, job) for job in backfill.jobs.of_table(table)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print(f"no load of {table}")
    for row in rows:
        print(f"{row['job']}  {row['state']:10}  {row['units_done']}/{row['units']} units, {row['items']:,} items")
        if row["verdict"]:
            print(f"  {row['verdict']}")


def _status(backfill: Backfill, table: str, job: str) -> dict[str, Any]:
    plan, _ = backfill.jobs.plan(table, job)
    steps, cursors = backfill.jobs.steps(table, job), backfill.jobs.cursors(table, job)
    told = backfill.jobs.result(table, job, "verified")
    state = next((step for step in ("aborted", "finished", "verified", "ghosts_closed", "loaded") if step in steps), "")
    return {
        "job": job,
        "state": state or "loading",
        "units": plan.units,
        "units_done": sum(cursor.done for cursor in cursors.values()),
        "items": sum(cursor.items for cursor in cursors.values()),
        "verdict": json.loads(told).get("verdict", "") if told else "",
    }


def _encoded(plan: Plan | RunnerPrice) -> bytes:
    import msgspec

    return msgspec.json.encode(plan)
