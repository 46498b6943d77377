"""The guide on sinks, the API page and the glossary say what the code does."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdc.testing import SimulatedClock, SimulatedContext, sink_contract, stream_record
from consumers.own_sinks import load_sink
from local.api_docs import api_docs

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "write-a-sink.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def test_the_api_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == api_docs(), "run: make docs"


def test_the_guide_shows_the_example_as_it_is() -> None:
    assert BLOCKS[0] == (ROOT / "examples" / "sqlite_sink.py").read_text(encoding="utf-8")


def test_the_guide_lists_every_claim() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", GUIDE, re.MULTILINE)
    assert [row for row in rows if row[0] in {str(claim) for claim in sink_contract}] == [
        (str(claim), claim.text) for claim in sink_contract
    ]


def test_the_guides_test_runs(tmp_path: Path) -> None:
    (tmp_path / "test_guide.py").write_text(BLOCKS[1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples")}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert f"{len(sink_contract)} passed" in done.stdout, done.stdout


TERMS = """
    settled superseded redrive tombstone lease view checkpoint sequence-number iterator-age bisect
    partial-batch-response dead-letter backfill watermark provenance outcome mapping document sink applied skipped
    deferred rejected archive index alias change image identity version shard stream flush breaker
"""


def test_the_glossary_has_every_term() -> None:
    defined = {term.lower().replace(" ", "-") for term in re.findall(r"\*\*([^*]+)\*\*:", GLOSSARY)}
    assert set(TERMS.split()) <= defined


def test_the_guides_handler_writes_to_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    scope: dict[str, Any] = {}
    code = BLOCKS[2].replace("/tmp/items.db", str(tmp_path / "items.db"))  # noqa: S108  (the guide's name)
    exec(code, scope)  # noqa: S102  (the guide's own code)
    clock = SimulatedClock()
    event = {"Records": [stream_record({"pk": "a"}, None, {"n": 1})]}
    for _ in range(2):
        assert scope["handler"](event, SimulatedContext(clock, clock() + 60)) == {"batchItemFailures": []}
    with sqlite3.connect(tmp_path / "items.db") as database:
        assert database.execute("SELECT count(*) FROM items").fetchone() == (1,)


def test_the_guides_sink_is_found_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "guide_items.py").write_text('from sqlite_sink import SqliteSink\nsink = SqliteSink("items.db")\n')
    assert load_sink("guide_items:sink").name == "sqlite"
