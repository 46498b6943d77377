"""`cdc archive replay`: what it refuses, and what it prints."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.errors import ConfigError
from consumers.cli import archive, replaying
from consumers.cli.archive import Destination, replay_archive
from consumers.cli.moments import moment_of
from tests.loading import LoadedTable


def replay(table: str = "shop", since: str = "26h", **about: Any) -> None:
    replay_archive(table, since, **{"until": None, "index": None, "sink": None, "functions": None, **about})


@pytest.mark.parametrize(
    ("about", "fault"),
    [
        ({"sink": [Destination.FUNCTIONS]}, "go together"),
        ({"functions": "shop_functions"}, "go together"),
        ({"sink": [Destination.FUNCTIONS], "functions": "json", "index": "orders"}, "no index is written to"),
        ({"until": "27h"}, "not later than --since 26h"),
        ({"since": "yesterday"}, "'yesterday' is no time"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(about: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        replay(**about)


def test_a_time_is_utc_unless_it_says_otherwise_or_how_long_ago_it_was() -> None:
    assert moment_of("2026-01-15T09:30") == datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    assert moment_of("2026-01-15T09:30+02:00") == datetime(2026, 1, 15, 7, 30, tzinfo=UTC)
    assert abs(datetime.now(UTC) - timedelta(hours=26) - moment_of("26h")) < timedelta(seconds=5)
    assert moment_of(None) is None


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> LoadedTable:
    """A table of two items, one of whose documents was removed by hand."""
    world = LoadedTable()
    for name in ("a", "b"):
        world.table.put((name, "x"), {"n": 1})
    world.deliver()
    world.remove("a|x")
    monkeypatch.setattr("consumers.runtime.open_runtime", lambda *_arguments, **_about: world.runtime)
    monkeypatch.setattr("consumers.loading.deployment_of", lambda _runtime: world.deployment)
    monkeypatch.setattr(replaying, "load_settings", lambda _environment: world.runtime.settings)
    return world


def test_the_summary_says_what_became_of_the_changes(world: LoadedTable, capsys: pytest.CaptureFixture[str]) -> None:
    replay(since="2026-01-15T00:00")
    assert world.documents() == world.wanted()
    assert capsys.readouterr().out == "index: 2 changes: 2 applied, 0 superseded, 0 skipped, 0 dead letters\n"


def test_the_summary_as_json(world: LoadedTable, capsys: pytest.CaptureFixture[str]) -> None:
    replay(since="2026-01-15T00:00", until="2027-01-15", as_json=True)
    told = json.loads(capsys.readouterr().out)
    counts = {"changes": 2, "applied": 2, "superseded": 0, "skipped": 0, "dead_letters": 0}
    assert told["sinks"] == {"index": counts}
    assert (told["table"], told["since"]) == ("shop", "2026-01-15T00:00:00+00:00")


def test_dead_letters_are_an_exit_code_of_their_own(world: LoadedTable, capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    world.server.rejects = lambda _source: "strict_dynamic_mapping_exception"
    with pytest.raises(typer.Exit) as raised:
        replay(since="2026-01-15T00:00")
    assert raised.value.exit_code == 1
    assert "cdc dead-letters list --table shop" in capsys.readouterr().err


def test_the_command_has_an_example() -> None:
    assert archive.archive_app.registered_commands[-1].epilog == "Example: cdc archive replay --table shop --since 26h"
