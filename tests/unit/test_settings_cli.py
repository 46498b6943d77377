"""`cdc settings` at 80 columns and in pipes: no name is cut, no secret shown. Faults of settings in our own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdc.errors import ConfigError
from consumers.cli.main import app
from consumers.cli.settings import group_of, setting_lines
from consumers.settings import describe, load_settings

NAMES = [setting["name"] for setting in describe()]


def test_every_name_stands_whole_within_80_columns() -> None:
    everything = dict.fromkeys(NAMES, "x" * 70)
    titles = [line for line in setting_lines({}, 80) if line and not line.startswith(" ")]
    printed = sorted(NAMES, key=lambda name: (titles.index(group_of(name)), NAMES.index(name)))
    for environment in ({}, everything):
        lines = setting_lines(environment, 80)
        assert [line.split()[0] for line in lines if line.startswith("  CDC_")] == printed
        assert all(len(line) <= 80 for line in lines)


def test_a_pipe_gets_every_name_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["settings"])
    words = done.stdout.split()
    assert done.exit_code == 0
    assert all(name in words for name in NAMES)
    assert "…" not in done.stdout
    for setting in describe():
        assert setting["meaning"] in " ".join(words)


def test_a_value_is_shown_beside_the_default_and_a_secret_never_is() -> None:
    lines = setting_lines(
        {
            "CDC_BULK_COUNT": "5",
            "CDC_OPENSEARCH_PASSWORD": "hunter2",
            "CDC_OPENSEARCH_ENDPOINT": "https://admin:hunter2@search.example.com",
        },
        80,
    )
    assert "  CDC_BULK_COUNT = 5   (default 1000)" in lines
    assert "  CDC_BULK_BYTES = 5242880" in lines
    assert "  CDC_OPENSEARCH_PASSWORD = (set, not shown)" in lines
    assert "  CDC_OPENSEARCH_ENDPOINT = https://…@search.example.com" in lines
    assert "hunter2" not in "\n".join(lines)


def test_an_unknown_setting_is_told_beside_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_BULK_COUTN", "5")
    done = CliRunner().invoke(app, ["settings"])
    assert done.stderr == "warning: CDC_BULK_COUTN: unknown setting; did you mean CDC_BULK_COUNT?\n"


def test_machines_get_what_they_always_got() -> None:
    assert json.loads(CliRunner().invoke(app, ["settings", "--json"]).stdout) == describe()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("CDC_KCL_PROFILE", "prod", "'prod' is none of local, production"),
        ("CDC_KCL_METRICS_LEVEL", "none", "'none' is none of DETAILED, NONE, SUMMARY"),
        ("CDC_BULK_COUNT", "x", "'x' is no whole number greater than 0"),
        ("CDC_BULKS_IN_FLIGHT", "20", "'20' is no whole number from 1 to 16"),
        ("CDC_MAX_RECORDS", "5000", "'5000' is no whole number greater than 0 and at most 1000"),
        ("CDC_HTTP_PORT", "0", "'0' is no whole number from 1 to 65535"),
        ("CDC_AWS_TIMEOUT_SECONDS", "0", "'0' is no number of 1 or more"),
        ("CDC_OPENSEARCH_VERIFY", "maybe", "'maybe' is neither true nor false"),
        ("CDC_KCL_DISABLE_WORKER_METRICS", "5", "'5' is neither true nor false"),
        ("CDC_DEFER_MAX_AGE", "18", "'18' is no duration, such as 90s, 15m, 18h or 2d"),
        ("CDC_JVM_HEAP", "5", "'5' is no size of memory, such as 512m or 2g"),
        ("CDC_METRICS_NAMESPACE", "a b", "'a b' has a character other than letters, digits and . _ / # : -"),
    ],
)
def test_a_fault_of_a_setting_is_told_in_our_own_words(name: str, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({name: text})
    assert caught.value.message == f"{name}: {fault}"


def test_every_setting_that_can_be_wrong_has_words_of_its_own() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(dict.fromkeys(NAMES, "§"))
    assert len(caught.value.message.splitlines()) > len(NAMES) / 2
    for general in ("not what it should be", "not written as it should be", "`"):
        assert general not in caught.value.message


def test_no_command_needs_a_package_index() -> None:
    """There is none that has this project: what is installed is a checkout."""
    root = Path(__file__).parents[2]
    for folder in ("cdc", "consumers"):
        for path in (root / folder).rglob("*.py"):
            assert "pip install 'dynamodb-cdc" not in path.read_text(encoding="utf-8"), path
