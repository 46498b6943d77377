"""`python -m tests.chaos`: rounds of load, fault and verdict on real servers; 0 if every round ended well."""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cdc.errors import CdcError
from local.demo.screen import console
from tests.chaos.consumer import Deployment
from tests.chaos.faults import FAULTS
from tests.chaos.rounds import Failure, Result, drawn, play
from tests.chaos.world import fresh_world

__all__ = ["main"]


def main() -> int:
    """Play the rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many; 20 take about ten minutes")
    parser.add_argument("--seed", type=int, default=int(f"{datetime.now(UTC):%Y%m%d}"), help="default: the date")
    parser.add_argument("--fault", choices=[fault.name for fault in FAULTS], help="this fault in every round")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, for machines")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = Console(stderr=True, highlight=False) if options.json else console()
    faults = drawn(options.seed, options.rounds)
    if options.fault:
        faults = [fault for fault in FAULTS if fault.name == options.fault] * options.rounds
    run = Path(tempfile.mkdtemp(prefix="dynamodb-cdc-chaos-"))
    out.print(f"{options.rounds} rounds, seed {options.seed}; starting AWS and OpenSearch …")
    results: list[Result] = []
    failures: list[str] = []
    began = time.monotonic()
    try:
        with _progress(out) as bars, ExitStack() as running:
            task = bars.add_task("", total=len(faults))
            servers = None
            for number, fault in enumerate(faults):
                bars.update(task, description=fault.name)
                if servers is None:
                    running.close()
                    servers = running.enter_context(fresh_world(run / f"from-round-{number + 1}"))
                try:
                    results.append(play(Deployment.make(servers), fault, options.seed + number))
                    out.print(_line(number, results[-1]), soft_wrap=True)
                except Failure as failure:
                    failures.append(str(failure))
                    out.print(f"{number + 1:3}  FAILED {failure}", style="red", markup=False, soft_wrap=True)
                    servers = None  # whatever state they are in
                bars.advance(task)
    except CdcError as error:
        out.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        out.print("stopped")
        return 130
    finally:
        if failures:
            out.print(f"logs are kept in {run}; again: python -m tests.chaos --seed {options.seed}", soft_wrap=True)
        else:
            shutil.rmtree(run, ignore_errors=True)
    figures = _figures(results, failures, time.monotonic() - began, options.seed)
    if options.json:
        rounds = [asdict(result) for result in results]
        print(json.dumps({**figures, "results": rounds, "failures": failures}, indent=2))
    else:
        out.print(", ".join(f"{name} {value}" for name, value in figures.items()))
    return 1 if failures else 0


def _progress(out: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )


def _line(number: int, result: Result) -> str:
    return (
        f"{number + 1:3}  {result.fault:48} {result.seconds:4.0f} s  "
        f"{result.changes:6} changes, {result.changes_per_second:3}/s  "
        f"{result.documents:5} documents equal, each change once"
    )


def _figures(results: Sequence[Result], failures: Sequence[str], seconds: float, seed: int) -> dict[str, float]:
    return {
        "seed": seed,
        "rounds": len(results) + len(failures),
        "failed": len(failures),
        "changes": sum(result.changes for result in results),
        "replayed": sum(result.replayed for result in results),
        "superseded": sum(result.superseded for result in results),
        "seconds": round(seconds),
    }


if __name__ == "__main__":
    sys.exit(main())
