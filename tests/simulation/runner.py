"""`python -m tests.simulation.runner`: many seeds in parallel, or one again; exit code 1 if any broke the promise."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulation.plan import Plan, draw_plan
from tests.simulation.trials import Trial, first_seed_of, shrink, try_plan, try_seeds

__all__ = ["Figures", "command", "main"]

_SHRUNK = 5
"""So many failures are made small, which takes some seconds each; one cause often fails many seeds."""
_LINES = 10  # of progress where there is no terminal
_FAULT = "fault: "
_COUNTED = (
    "changes",
    "acknowledged",
    "writes",
    "replays",
    "conflicts",
    "older states after a forgotten delete",
    "deleted items brought back by a stray writer",
    "archived",
    "archived twice",
    "dead letters",
    "given up by Lambda",
)
"""Named even if there were none; whatever else was counted follows."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def command(seed: int, places: Sequence[int] | None = None) -> str:
    """The command that repeats a seed's run, or that of some of its plan's events."""
    events = "" if places is None else f" --events {','.join(map(str, places)) or 'none'}"
    return f"python -m tests.simulation.runner --seed {seed}{events}"


@dataclass
class Figures:
    """The seeds that were tried, and what came of them."""

    first: int
    seeds: int = 0
    consumers: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    removes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Trial] = field(default_factory=list)
    smallest: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The places of the events that are enough, for the first failures."""
    seconds: float = 0.0

    def add(self, trial: Trial) -> None:
        """One more."""
        self.seeds += 1
        self.consumers[trial.consumer] += 1
        self.views[trial.view] += 1
        self.removes[trial.on_remove] += 1
        for name, count in trial.counts.items():
            counter = self.faults if name.startswith(_FAULT) else self.counts
            counter[name.removeprefix(_FAULT)] += count
        if trial.violations:
            self.failures.append(trial)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "first": self.first,
            "seeds": self.seeds,
            "failed": len(self.failures),
            "seconds": round(self.seconds, 1),
            "schedules": {"consumer": self.consumers, "view": self.views, "on_remove": self.removes},
            "counts": dict.fromkeys(_COUNTED, 0) | self.counts,
            "faults": dict(sorted(self.faults.items())),
            "failures": [
                {
                    "seed": trial.seed,
                    "violations": trial.violations,
                    "trace": trial.trace,
                    "smallest": self.smallest.get(trial.seed),
                    "command": command(trial.seed, self.smallest.get(trial.seed)),
                }
                for trial in self.failures
            ],
        }

    def lines(self) -> list[str]:
        """For people."""
        counts = dict.fromkeys(_COUNTED, 0) | self.counts
        return [
            f"schedules  {self.seeds}: {_listed(self.consumers)}",
            f"           {_listed(self.views)}",
            f"           on_remove {_listed(self.removes)}",
            *(f"{count:9}  {name}" for name, count in counts.items()),
            f"{self.faults.total():9}  faults",
            *(f"{count:9}    {name}" for name, count in sorted(self.faults.items())),
            f"{len(self.failures)} of {self.seeds} seeds failed, {self.seconds:.1f} s",
        ]


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


@app.command(epilog="Examples: --seeds 1000 tries a thousand; --seed 17 --events 0,3,7 repeats three events of one.")
def _command(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to try.")] = 200,
    first: Annotated[int | None, typer.Option(help="The first of them; default: one of today's own.")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="In so many processes; default: one a processor.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Only this one, telling what happens in it.")] = None,
    events: Annotated[str | None, typer.Option(help="With --seed: the places of the events that happen.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Simulate tables, streams, consumers, OpenSearch and S3 under faults, and check that the promise is kept.

    A seed decides all that happens. Exit code 1: a seed failed; what repeats it is printed.
    """
    if seed is None and events is not None:
        raise typer.BadParameter("names the events of one --seed", param_hint="--events")
    out = Console(stderr=as_json, highlight=False)
    try:
        if seed is not None:
            failed = _repeat(seed, events, out, as_json=as_json)
        else:
            failed = _many(_seeds_of(first, seeds), processes or os.cpu_count() or 1, out, as_json=as_json)
    except KeyboardInterrupt:
        out.print("stopped")
        sys.exit(130)
    sys.exit(1 if failed else 0)


def _seeds_of(first: int | None, count: int) -> range:
    start = first_seed_of(datetime.now(UTC).date()) if first is None else first
    return range(start, start + count)


# --- many


def _many(seeds: range, processes: int, out: Console, *, as_json: bool) -> bool:
    _say(out, f"{len(seeds)} seeds from {seeds.start}, in {processes} processes")
    figures, began = Figures(seeds.start), time.monotonic()
    with _progress(out) as bars:
        task = bars.add_task("simulating", total=len(seeds))
        for trial in try_seeds(seeds, processes):
            figures.add(trial)
            if trial.violations:
                _say(out, f"FAILED seed {trial.seed}: {trial.violations[0]}", style="red")
            bars.advance(task)
            if not out.is_terminal and figures.seeds * _LINES // len(seeds) > (figures.seeds - 1) * _LINES // len(
                seeds
            ):
                _say(out, f"{figures.seeds} of {len(seeds)}, {len(figures.failures)} failed")
    figures.failures.sort(key=lambda trial: trial.seed)
    figures.seconds = time.monotonic() - began
    _shrink(figures, processes, out)
    if as_json:
        print(json.dumps(figures.as_json(), indent=2))
    else:
        for trial in figures.failures:
            _tell_failure(trial, figures.smallest.get(trial.seed), out)
        for line in figures.lines():
            _say(out, line)
    return bool(figures.failures)


def _shrink(figures: Figures, processes: int, out: Console) -> None:
    failed = [trial.seed for trial in figures.failures[:_SHRUNK]]
    if not failed:
        return
    _say(out, f"looking for the smallest schedules of {len(failed)} failures …")
    with _progress(out) as bars:
        task = bars.add_task("shrinking", total=len(failed))
        for seed, places in shrink(failed, processes):
            figures.smallest[seed] = places
            bars.advance(task)


def _tell_failure(trial: Trial, places: Sequence[int] | None, out: Console) -> None:
    _say(out, f"seed {trial.seed}: {trial.consumer}, {trial.view}, on_remove {trial.on_remove}", style="red")
    _tell(trial, out)
    if places is not None:
        _say(out, f"  smallest: the events at {list(places)}")
    _say(out, f"  again: {command(trial.seed, places)}")


# --- one again


def _repeat(seed: int, events: str | None, out: Console, *, as_json: bool) -> bool:
    whole = draw_plan(seed)
    places = list(range(len(whole.events))) if events is None else _places(events, whole)
    plan = whole.with_events(places)
    trial = try_plan(plan)
    smallest = next(iter(shrink([seed], 1)))[1] if trial.violations and events is None else None
    if as_json:
        happened = [{"place": place, **asdict(whole.events[place])} for place in places]
        told = {one.name: getattr(trial, one.name) for one in fields(trial)}
        facts = {**told, "smallest": smallest, "command": command(seed, smallest), "events": happened}
        print(json.dumps(facts, indent=2))
        return bool(trial.violations)
    _say(
        out,
        f"seed {seed}: {plan.consumer}, {plan.view.value}, on_remove {plan.on_remove}, {plan.shards} shards, "
        f"faults {plan.fault_rate:.0%}, processes disturbed {plan.disturbance:.0%}, "
        f"{'some' if plan.poison else 'no'} documents refused",
    )
    for place in places:
        event = whole.events[place]
        _say(out, f"{place:4}  {event.kind:12} item {event.item}  amount {event.amount}")
    for name, count in sorted(trial.counts.items()):
        _say(out, f"{count:6}  {name}")
    if trial.violations:
        _say(out, "the promise was broken:", style="red")
        _tell(trial, out)
        if smallest is not None:
            _say(out, f"  smallest: {command(seed, smallest)}")
    else:
        _say(out, "the promise was kept")
    return bool(trial.violations)


def _places(text: str, plan: Plan) -> list[int]:
    if text == "none":
        return []
    try:
        places = [int(place) for place in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers as 0,3,7", param_hint="--events") from None
    if places != sorted(set(places)) or places[0] < 0 or places[-1] >= len(plan.events):
        raise typer.BadParameter(f"the places rise, from 0 to {len(plan.events) - 1}", param_hint="--events")
    return places


def _tell(trial: Trial, out: Console) -> None:
    for text in trial.violations:
        _say(out, f"  {text}")
    for line in trial.trace:
        _say(out, f"    {line}")


def _progress(out: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _say(out: Console, text: str, style: str | None = None) -> None:
    """Print a text unchanged, on one line: what is in it is no markup, and what is piped on is not cut."""
    out.print(text, style=style, markup=False, soft_wrap=True)


def main() -> None:
    """Run the command of the arguments."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    app(prog_name="python -m tests.simulation.runner")


if __name__ == "__main__":
    main()
