"""Case 5, a cold start: from nothing to the answer for the first record, in Lambda's own runtime."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cold.server import agreeable_server
from benchmarks.results import CannotRun, Goal, Result, Row, Spread
from cdc.errors import ConfigError
from local.emulator import LambdaRuntime, install_emulator, launch_function
from local.lambda_binaries import Target, machine_architecture
from local.lambda_package import Package, build, interpreter

__all__ = ["TITLE", "run"]

TITLE = "Cold start: to the answer for the first record, in Lambda's runtime"

_COLD = Path(__file__).parent / "cold"
_PYTHON = "3.13"
BARE, BOTH, INDEX, UNSIGNED = "bare handler", "index and archive", "index only", "index only, unsigned"
_HANDLER = "consumers.aws_lambda.entry_changes.handler"


@dataclass(frozen=True, slots=True)
class _Contender:
    name: str
    handler: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Start:
    """One cold start, in milliseconds."""

    init: float
    first: float
    processor: float
    """The processor time of both, whatever else the machine was doing."""


def run(quick: bool) -> Iterator[Result]:
    """Functions of one package take turns, each turn in a process of its own."""
    rounds = 2 if quick else 20
    python = interpreter(_PYTHON) or sys.executable
    with tempfile.TemporaryDirectory(prefix="cold-start-") as scratch, agreeable_server() as server:
        folder = Path(scratch)
        try:
            runtime = install_emulator(_silent, python)
            version = runtime.version
            target = Target(version, machine_architecture())
            built = build(Package(target, mappings=_COLD / "mappings", own=[_COLD / "bare.py"]), folder)
        except ConfigError as error:
            raise CannotRun(str(error)) from error
        task = folder / "task"
        with zipfile.ZipFile(built.path) as archive:
            archive.extractall(task)
        contenders = _contenders(server)
        for number, contender in enumerate(contenders):  # uncounted: the index remembers its stream, files are cached
            _cold(folder / f"warm-{number}", runtime, task, contender)
        starts: dict[str, list[_Start]] = {contender.name: [] for contender in contenders}
        for turn in range(rounds):
            first = turn % len(contenders)  # whoever comes after whom: everybody in turn
            for number, contender in enumerate(contenders[first:] + contenders[:first]):
                starts[contender.name].append(_cold(folder / f"{turn}-{number}", runtime, task, contender))
        remains = {contender.name: _imports(runtime, task, contender) for contender in contenders}
    yield _result(starts, remains, version, rounds)


def _contenders(server: str) -> tuple[_Contender, ...]:
    common = {
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": server,
        "CDC_OPENSEARCH_ENDPOINT": server,
        "CDC_OPENSEARCH_AUTH": "es",
        "CDC_DEAD_LETTER_BUCKET": "dead-letters",
    }
    archived = {**common, "CDC_ARCHIVE_BUCKET": "lake"}
    return (
        _Contender(BARE, "bare.handler", archived),
        _Contender(BOTH, _HANDLER, archived),
        _Contender(INDEX, _HANDLER, common),
        _Contender(UNSIGNED, _HANDLER, {**common, "CDC_OPENSEARCH_AUTH": "none"}),
    )


def _cold(folder: Path, runtime: LambdaRuntime, task: Path, contender: _Contender) -> _Start:
    function = launch_function(folder, runtime, task, contender.handler, contender.environment)
    try:
        answer = function.invoke(_event())
        if answer != {"batchItemFailures": []}:
            raise CannotRun(f"{contender.name} answers {answer}")
        report = function.report()
        used = sum(sum(child.cpu_times()[:2]) for child in function.process.server.children())
    finally:
        function.stop()
    return _Start(report.inits[0] * 1000, report.invocations[0] * 1000, used * 1000)


def _event() -> dict[str, Any]:
    image = {"pk": {"S": "CUSTOMER#42"}, "sk": {"S": "ORDER#2026-0001"}, "total": {"N": "19.99"}}
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-15T09:00:00.000"
    record = {
        "eventID": "00000000000000000000000000000001",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1768469400.0,
            "Keys": {name: image[name] for name in ("pk", "sk")},
            "NewImage": image,
            "SequenceNumber": "100000000002513011398",
            "SizeBytes": 80,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": arn,
    }
    return {"Records": [record]}


def _imports(runtime: LambdaRuntime, task: Path, contender: _Contender) -> Counter[str]:
    """Microseconds that each package's own modules take, by `python -X importtime`."""
    module = contender.handler.rpartition(".")[0]
    done = subprocess.run(  # noqa: S603  (our own command)
        [str(runtime.python), "-X", "importtime", "-c", f"import {module}"],
        cwd=task,
        env={**contender.environment, "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    spent: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            name = fields[2].strip().partition(".")[0]
            spent["Python's own" if name in sys.stdlib_module_names else name] += int(fields[0])
    return spent


def _result(
    starts: Mapping[str, list[_Start]], remains: Mapping[str, Counter[str]], version: str, rounds: int
) -> Result:
    totals = {name: [start.init + start.first for start in many] for name, many in starts.items()}
    rows = []
    ratios: dict[str, Spread] = {}
    for name, many in starts.items():
        ratios[name] = Spread.of(mine / bare for mine, bare in zip(totals[name], totals[BARE], strict=True))
        rows.append(
            Row(
                name,
                {
                    "init, ms": Spread.of(start.init for start in many),
                    "first record, ms": Spread.of(start.first for start in many),
                    "together, ms": Spread.of(totals[name]),
                    "× bare": ratios[name],
                    "processor, ms": Spread.of(start.processor for start in many),
                },
            )
        )
    goals = [
        Goal("cold start, index and archive: ≤ 1.15 × bare handler", ratios[BOTH].median, most=1.15),
        Goal("cold start, index only: ≤ 0.6 × bare handler", ratios[INDEX].median, most=0.6),
    ]
    notes = [
        f"Python {version}, {rounds} starts each, taking turns; medians (quartiles). The bare handler imports boto3 "
        "and opensearch-py, makes the same two clients, and writes nothing; ours write the record.",
        "What remains of imports, the making of clients counted as consumers':",
        *(f"{name}: {_largest(spent)}." for name, spent in remains.items() if name != BARE),
    ]
    return Result(TITLE, rows, goals, notes)


def _largest(spent: Counter[str]) -> str:
    return ", ".join(f"{name} {microseconds / 1000:.0f}" for name, microseconds in spent.most_common(8)) + " ms"


def _silent(_text: str, _done: int, _total: int) -> None:
    """Fetch in silence: that is not what is measured."""
