"""Rebuilds under fire: an index is built anew by a changed mapping while readers, command and OpenSearch are killed.

`python -m tests.chaos.rebuilds` plays each way of reading once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tenacity

from cdc.testing.simulated.batches import BatchRules
from local.demo.judge import read_index
from local.emulator import LambdaFunction, install_emulator, launch_function
from local.event_source_mapping import LocalEventSourceMapping
from local.lambda_here import CHANGES, build_here
from local.process import ServerProcess, start
from local.stream_source import StreamSource
from tests.chaos.consumer import PATIENCE_SECONDS, Consumer, Deployment
from tests.chaos.judge import Expected, expected_of, judge
from tests.chaos.load import Load
from tests.chaos.rounds import Failure
from tests.chaos.searches import Searches
from tests.chaos.world import World, fresh_world

__all__ = ["WAYS", "Played", "Way", "play_rebuild"]

Way = Literal["consumer", "lambda", "both"]
WAYS: tuple[Way, ...] = ("consumer", "lambda", "both")
Launch = Callable[[Path, dict[str, str]], LambdaFunction]

_RENAMED = ("about", "details")
_DRAIN_SECONDS = 150.0
_READ_UNITS = "30"
_RUNS = 20
"""So often the command is started again where a server was out of reach."""


@dataclass(frozen=True)
class Played:
    """How it went."""

    way: Way
    documents: int
    changes: int
    searches: int
    kills: int
    verdict: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.way}: {self.changes} changes meanwhile, {self.kills} kills, {self.searches} searches without an "
            f"error; {self.verdict}; the judge: {self.documents} documents equal in table, old and new index, after "
            f"the swap, the rollback and the end; {self.seconds:.0f} s"
        )


@dataclass
class _Lambda:
    """The package in Lambda's own runtime, and an event source mapping; a kill is one of the function's process."""

    deployment: Deployment
    launch: Launch
    function: LambdaFunction | None = None
    starts: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self.starts += 1
        folder = self.deployment.folder / f"lambda-{self.starts}"
        folder.mkdir()
        self.function = self.launch(folder, self.deployment.environment("lambda"))
        if self._thread is None:
            source = StreamSource(self.deployment.world.client("dynamodbstreams"), self.deployment.streams[0])
            mapping = LocalEventSourceMapping(self._invoke, source, BatchRules(batch_size=300), window_seconds=0.2)
            self._thread = threading.Thread(target=mapping.run, args=(self._stop,), daemon=True)
            self._thread.start()

    def _invoke(self, event: dict[str, Any]) -> Any:
        assert self.function is not None
        return self.function.invoke(event)

    def kill(self) -> None:
        assert self.function is not None
        self.function.process.kill()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(PATIENCE_SECONDS)
        if self.function is not None:
            self.function.stop()


@dataclass
class _Command:
    """`cdc rebuild …` by a changed mapping file."""

    deployment: Deployment
    starts: int = 0
    process: ServerProcess | None = None

    @property
    def environment(self) -> dict[str, str]:
        changed = self.deployment.folder / "changed"
        changed.mkdir(exist_ok=True)
        name, (before, after) = self.deployment.name, _RENAMED
        (changed / "mapping.yml").write_text(
            f"table: {name}\ndocuments: [{{index: {name}, fields: {{rename: {{{before}: {after}}}}}}}]\n"
        )
        return {**self.deployment.environment("rebuild"), "CDC_MAPPINGS": str(changed / "mapping.yml")}

    @property
    def log(self) -> Path:
        return self.deployment.folder / f"rebuild-{self.starts}.log"

    def begin(self, *verb: str) -> None:
        self.starts += 1
        slowly = [] if verb else ["--max-read-units", _READ_UNITS]  # so that much happens meanwhile
        arguments = ["rebuild", *verb, "--index", self.deployment.name, *slowly, "--json"]
        command = [sys.executable, "-m", "consumers.cli.main", *arguments]
        self.process = start("the rebuild", command, self.environment, self.deployment.folder, self.log)

    def await_log(self, text: str) -> None:
        assert self.process is not None
        self.process.wait_until(lambda: text in self.log.read_text(), PATIENCE_SECONDS)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def ended(self, *verb: str) -> list[dict[str, Any]]:
        """Run it to its end; where a server was out of reach the same command goes on."""
        for _ in range(_RUNS):
            if self.process is None:
                self.begin(*verb)
            assert self.process is not None
            code = self.process.supervisor.wait(2 * PATIENCE_SECONDS)
            self.process = None
            text = self.log.read_text()
            if code == 0:
                return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            assert code == 1, f"cdc rebuild {' '.join(verb)} ended with {code}:\n{text[-3000:]}"
        raise AssertionError(f"cdc rebuild {' '.join(verb)} does not come to an end")


def play_rebuild(world: World, way: Way, seed: int, launch: Launch, *, batches_per_second: float = 12) -> Played:
    """Rebuild an index while it is written to and searched, through kills; go back, and give the new one up.

    Args:
        launch: starts the function.

    Raises:
        Failure: something is missing, stale or a ghost, or a search failed; with the ends of the logs.
    """
    began = time.monotonic()
    deployment = Deployment.make(world)
    consumer = Consumer(deployment, "first") if way != "lambda" else None
    function = _Lambda(deployment, launch) if way != "consumer" else None
    readers = [one for one in (consumer, function) if one is not None]
    load = Load(world.client("dynamodb"), deployment.name, seed, batches_per_second)
    command, kills = _Command(deployment), 0
    searches = Searches(world, deployment.name)
    try:
        for reader in readers:
            reader.start()
        load.start()
        try:
            searches.await_documents(300)
            with searches.running():
                command.begin()
                command.await_log("waiting until every consumer writes to both")
                command.kill()
                for reader in readers:
                    reader.kill()
                    reader.start()
                command.begin()
                command.await_log('{"step": "loading"}')
                with searches.down():
                    world.opensearch.process.kill()
                    world.start_opensearch_again()
                    searches.await_documents(1)
                kills += 2 + len(readers)
                (*_, ended) = command.ended()
        finally:
            load.stop()
        new, old = ended["result"]["new"], ended["result"]["old"]
        expected = expected_of(deployment)
        _await_equal(lambda: _differences(deployment, expected, {old: False, new: True}))
        more = Load(world.client("dynamodb"), deployment.name, seed + 1, batches_per_second)
        with searches.running():
            more.start()
            try:
                command.ended("rollback")
                searches.await_turns(20)
                command.ended("abort")
                searches.await_turns(20)
            finally:
                more.stop()
        expected = expected_of(deployment)
        _await_equal(lambda: judge(deployment, expected).differences)
        assert searches.turns > 100
    except Exception as error:
        logs = sorted(deployment.folder.rglob("*.log"), key=lambda one: one.stat().st_mtime)[-4:]
        tails = [f"{one.name}:\n{one.read_text(errors='replace')[-2000:]}" for one in logs]
        raise Failure("\n---\n".join([f"{way}: {type(error).__name__}: {error}", *tails])) from error
    finally:
        if function is not None:
            function.stop()
        if consumer is not None and consumer.is_running:
            consumer.kill()
    (verdict,) = ended["result"]["verdicts"]
    return Played(
        way,
        len(expected.documents),
        load.written + more.written,
        searches.turns,
        kills,
        verdict,
        time.monotonic() - began,
    )


def _differences(deployment: Deployment, expected: Expected, indices: dict[str, bool]) -> list[str]:
    """Documents of these indices that are not as the table has them; True: by the changed file."""
    before, after = _RENAMED
    found = []
    for index, is_changed in indices.items():
        held = read_index(deployment.world.opensearch.url, index)
        for name in sorted(expected.documents.keys() | held.keys()):
            wanted = dict(expected.documents.get(name) or {})
            if is_changed and before in wanted:
                wanted[after] = wanted.pop(before)
            if wanted != (held.get(name) or {}):
                found.append(f"{index}/{name}: table n={wanted.get('n')}, index n={(held.get(name) or {}).get('n')}")
    return found


def _await_equal(differing: Callable[[], Sequence[str]]) -> None:
    left = tenacity.Retrying(
        retry=tenacity.retry_if_result(bool) | tenacity.retry_if_exception_type(urllib.error.URLError),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(_DRAIN_SECONDS),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else [],
    )(differing)
    assert not left, "\n".join(left[:20])


@contextmanager
def launching(folder: Path) -> Iterator[Launch]:
    """Starts functions of the package, which is built once."""
    runtime, package = install_emulator(lambda _text, _done, _total: None), build_here(folder)
    yield lambda run, environment: launch_function(run, runtime, package, CHANGES, environment)


def main() -> int:
    """Play each way once, and print how it went; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=WAYS, action="append", help="only these")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-cdc-") as folder,
        launching(Path(folder) / "package") as launch,
        fresh_world(Path(folder) / "run") as made,
    ):
        for way in options.way or WAYS:
            try:
                print(play_rebuild(made, way, options.seed, launch), flush=True)
            except Failure as failure:
                failed += 1
                print(f"FAILED {failure}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
