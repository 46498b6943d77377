"""A replay of the archive on a terminal: from settings to sinks, progress, the summary."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cdc.archive import DYNAMODB_REACH, KINESIS_REACH
from cdc.errors import ConfigError
from cdc.records.stream import Stream
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.loads.replay import Replayed, ReplaySummary
    from consumers.runtime import Runtime

__all__ = ["Replaying"]

_LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Replaying:
    """A replay as a person asks for it."""

    table: str
    since: datetime
    until: datetime | None
    index: str | None
    to_index: bool
    functions: str | None

    def run(self, environment: Mapping[str, str], *, as_json: bool) -> ReplaySummary:
        """Replay, show how far it is, and print the summary.

        Raises:
            ConfigError: settings, mappings or what is asked for are wrong.
            SinkError: the archive or a sink can't be used.
        """
        from consumers.own_sinks import load_functions
        from consumers.runtime import open_runtime

        own = load_functions(self.functions) if self.functions else None
        runtime = open_runtime(load_settings(environment), own=own)
        try:
            with _Screen(as_json=as_json) as screen:
                summary = self._replayed(runtime, screen)
        finally:
            runtime.close()
        _print(summary, as_json=as_json)
        return summary

    def _replayed(self, runtime: Runtime, screen: _Screen) -> ReplaySummary:
        from cdc.loads.replay import replay_to_functions, replay_to_index
        from consumers.loading import archive_of, deployment_of
        from consumers.pipelines import LOAD

        kinesis, own = runtime.settings.kinesis_stream_arn, runtime.pipelines.own
        functions = None if own is None else own()
        if self.to_index:
            return replay_to_index(
                deployment_of(runtime),
                self.table,
                self.since,
                self.until,
                index=self.index,
                functions=functions,
                stream=None if kinesis is None else Stream.kinesis(kinesis, self.table),
                observe=screen.observe,
            )
        place = archive_of(runtime)
        if functions is None or place is None:
            raise ConfigError("there is no archive to replay", remedy="Set CDC_ARCHIVE_BUCKET.")
        pipelines = runtime.pipelines
        return replay_to_functions(
            place,
            self.table,
            self.since,
            self.until,
            pipelines.around(functions, LOAD, pipelines.sleep),
            clock=pipelines.clock,
            sleep=pipelines.sleep,
            reach=DYNAMODB_REACH if kinesis is None else KINESIS_REACH,
            observe=screen.observe,
        )


class _Screen:
    """Shows a replay as it goes on, on standard error."""

    def __init__(self, *, as_json: bool) -> None:
        self._console = Console(stderr=True)
        self._is_silent = as_json
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("replaying {task.fields[facts]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=as_json or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bars.add_task("", total=None, facts="…")
        self._began = self._told = time.monotonic()

    def __enter__(self) -> _Screen:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def observe(self, so_far: Mapping[str, Replayed]) -> None:
        """Show what became of the changes so far."""
        first, now = next(iter(so_far.values())), time.monotonic()
        reached = first.reached_micros
        text = f"{first.changes:,} changes, {first.changes / max(now - self._began, 0.001):,.0f}/s"
        if reached is not None:
            text += f", made at {datetime.fromtimestamp(reached / 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"
        self._bars.update(self._task, facts=text)
        if not self._is_silent and not self._console.is_terminal and now - self._told >= _LINE_SECONDS:
            self._told = now
            print(f"replaying {text}", file=sys.stderr, flush=True)


def _print(summary: ReplaySummary, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {
            "table": summary.table,
            "since": summary.since.isoformat(),
            "until": None if summary.until is None else summary.until.isoformat(),
            "sinks": {name: _facts(replayed) for name, replayed in summary.sinks.items()},
            "later_removals": None if summary.removals is None else _facts(summary.removals),
        }
        print(json.dumps(facts))
        return
    for name, replayed in summary.sinks.items():
        print(f"{name}: {_sentence(replayed)}")
    if summary.removals is not None and summary.removals.changes:
        print(f"what removes documents and came later, once more: {_sentence(summary.removals)}")
    if summary.dead_letters:
        print(f"`cdc dead-letters list --table {summary.table}` shows what was rejected", file=sys.stderr)


def _facts(replayed: Replayed) -> dict[str, int]:
    return {
        "changes": replayed.changes,
        "applied": replayed.applied,
        "superseded": replayed.superseded,
        "skipped": replayed.skipped,
        "dead_letters": replayed.dead_letters,
    }


def _sentence(replayed: Replayed) -> str:
    return (
        f"{replayed.changes:,} changes: {replayed.applied:,} applied, {replayed.superseded:,} superseded, "
        f"{replayed.skipped:,} skipped, {replayed.dead_letters:,} dead letters"
    )
