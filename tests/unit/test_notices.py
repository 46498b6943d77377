"""Notices of the library while a command runs: short lines on standard error, each once, never among the output."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from consumers.cli import settings
from consumers.cli.main import app


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Put the handlers back that pytest has."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_warning_is_one_short_line_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe() -> list[dict[str, str]]:
        for _ in range(2):
            logging.getLogger("cdc.sinks").warning("the body for %s has changed", "users")
        logging.getLogger("cdc.sinks").info("made an index")
        logging.getLogger("cdc.sinks").error("it failed", exc_info=ValueError("a secret"))
        return []

    monkeypatch.setattr(settings, "describe", describe)
    done = CliRunner().invoke(app, ["settings", "--json"])
    assert done.stdout == "[]\n"
    assert done.stderr == "warning: the body for users has changed\nerror: it failed\n"
