"""The README's examples run, its settings exist, and what is exported is there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdc.mappings.files import parse_mapping
from consumers.settings import describe
from tests.events import payload

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "changes_from_lambda" in block]
    exec(example, {"event": payload("lambda-dynamodb")})  # noqa: S102  (the README's own code)
    assert "Changed(before='Zürich', after='Genève')" in capsys.readouterr().out


def test_the_handler_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "handler_for" in block]
    scope: dict[str, Any] = {}
    exec(example, scope)  # noqa: S102  (the README's own code)
    monkeypatch.setenv("CDC_MAPPINGS", "none")

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 10_000

    event = {"Records": payload("lambda-dynamodb")["Records"][:1]}
    assert scope["handler"](event, Context()) == {"batchItemFailures": []}
    assert "a new item" in capsys.readouterr().out


def test_the_mapping_example_has_no_fault() -> None:
    (example,) = blocks("yaml")
    assert parse_mapping(example, source="README.md").table == "shop"


def test_the_pattern_example_has_no_fault() -> None:
    text = (ROOT / "mappings" / "README.md").read_text(encoding="utf-8")
    (example,) = blocks("yaml", text)
    where = example.replace("\n", "\n    ")
    assert parse_mapping(f"table: t\ndocuments:\n  - index: i\n    {where}", source="README.md").documents


def test_every_setting_that_is_named_exists() -> None:
    known = {setting["name"] for setting in describe()}
    for path in [ROOT / "README.md", *(ROOT / "cdc").rglob("*.py"), *(ROOT / "consumers").rglob("*.py")]:
        named = set(re.findall(r"\bCDC_[A-Z_]+[A-Z]\b", path.read_text(encoding="utf-8")))
        assert named <= known, path


@pytest.mark.parametrize(
    "name", ["cdc", "cdc.testing", "cdc.sinks", "cdc.outcome", "cdc.errors", "cdc.records.sequence"]
)
def test_what_is_exported_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert all(hasattr(module, exported) for exported in module.__all__)


def test_importing_the_library_imports_no_client() -> None:
    clients = ("boto3", "opensearchpy", "jpype")
    code = f"import cdc, cdc.records.decoding, sys; print([name for name in {clients} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_is_long() -> None:
    for folder in ("cdc", "consumers", "local", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
