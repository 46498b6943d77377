"""The KCL path: full streams drained into nothing, by us, by Java alone, and by a loop of boto3's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.compiled import class_path
from benchmarks.drains import Cost
from benchmarks.filled import Filled, engine, filled
from benchmarks.results import CannotRun, Goal, Result, Row, Spread

__all__ = ["TITLE", "Contender", "contender", "run", "waiting"]

TITLE = "KCL: full streams, drained into nothing"

_TABLES = 3


@dataclass(frozen=True)
class Contender:
    """A process that waits for its turn."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def turn(self, records: int) -> Cost:
        """Let it drain."""
        return Cost(**self.told(records))

    def told(self, records: int) -> dict[str, Any]:
        """Let it have its turn; what it prints."""
        if self.process.stdin is None or self.process.stdout is None:
            raise CannotRun(f"{self.name}: it has no pipes")
        self.process.stdin.write(f"{records}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.startswith("{"):
            raise CannotRun(f"{self.name} ended: {self.log.read_text(errors='replace').strip()[-300:]}")
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def contender(
    name: str, source: Filled, path: Sequence[Path], folder: Path, environment: Mapping[str, str]
) -> Iterator[Contender]:
    """A contender of `benchmarks.drains`, started and waiting."""
    command = ["benchmarks.drains", name, "--tables", ",".join(source.tables)]
    command += ["--class-path", os.pathsep.join(map(str, path))]
    with waiting(name, command, folder, environment) as started:
        yield started


@contextmanager
def waiting(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Contender]:
    """A contender that is a module of ours with its arguments, started and waiting."""
    log = folder / f"{name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(  # noqa: S603  (our own module)
            [sys.executable, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        )
    try:
        yield Contender(name, process, log)
    finally:
        process.kill()
        process.wait()


def run(quick: bool) -> Iterator[Result]:
    """Contenders take turns on the same streams; the first turn of each warms its JVM up and is told apart.

    Raises:
        CannotRun: Java or the engine can't be had.
    """
    items, rounds = (500, 1) if quick else (20_000, 2)
    with TemporaryDirectory(prefix="dynamodb-cdc-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        folder = Path(name)
        path = class_path(folder / "classes")
        source = stack.enter_context(filled(stack.enter_context(engine(folder)), _TABLES, items))
        costs: dict[str, list[Cost]] = {}
        contenders = [
            stack.enter_context(contender(one, source, path, folder, source.variables))
            for one in ("floor", "ours", "boto3")
        ]
        for turn in range(rounds + (0 if quick else 1)):
            for one in contenders:
                if one.name != "boto3":
                    costs.setdefault(one.name, []).append(one.turn(source.records))
                elif turn == rounds or quick:  # slow, and nothing warms up in it
                    costs.setdefault(one.name, []).append(one.turn(source.records // _TABLES))
        yield _result(costs, source, quick=quick)


def _result(costs: Mapping[str, Sequence[Cost]], source: Filled, *, quick: bool) -> Result:
    warm = {name: many if quick or name == "boto3" else many[1:] for name, many in costs.items()}
    speed = [ours.rate / floor.rate for ours, floor in zip(warm["ours"], warm["floor"], strict=True)]
    cpu = [ours.micros / floor.micros for ours, floor in zip(warm["ours"], warm["floor"], strict=True)]
    loop = Spread.of(cost.micros for cost in warm["boto3"]).median
    loop /= Spread.of(cost.micros for cost in warm["ours"]).median
    titles = {"floor": "the KCL in Java, counting", "ours": "ours", "boto3": "boto3 loop, TypeDeserializer"}
    rows = [
        Row(
            titles[name],
            {
                "records/s": Spread.of(cost.rate for cost in many),
                "CPU µs a record": Spread.of(cost.micros for cost in many),
                "first turn, CPU µs": costs[name][0].micros,
                "peak MiB": max(cost.peak_mib for cost in many),
            },
        )
        for name, many in warm.items()
    ]
    rows.append(Row("ours / Java", {"records/s": Spread.of(speed), "CPU µs a record": Spread.of(cpu)}))
    return Result(
        f"{len(source.tables)} tables × {source.records // len(source.tables):,} items of 1 KB",
        rows,
        ()
        if quick  # a few hundred records say nothing
        else (
            Goal("KCL: ≥ 0.8 × the records/s of the KCL in Java", Spread.of(speed).median, least=0.8),
            Goal("KCL: ≤ 1.6 × the CPU a record of the KCL in Java", Spread.of(cpu).median, most=1.6),
            Goal("KCL: ≥ 5 × less CPU a record than the boto3 loop", loop, least=5),
        ),
        (
            "The servers of the streams and of the leases share the processors with all contenders. CPU is that of the "
            "process, Java's threads included. Every turn starts at the streams' beginning; the first of each JVM "
            "compiles: told apart.",
        ),
    )
