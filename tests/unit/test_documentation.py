"""The README's examples run, and the settings and commands that the documentation names exist."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

import cdc
from cdc import Deadline
from cdc.mappings.files import parse_mapping
from cdc.records.change import StreamView
from cdc.sinks.archive_s3 import S3Archive
from cdc.testing import SimulatedClock, SimulatedS3, change
from consumers.settings import describe
from tests.events import payload

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The blocks of a language, also those that stand in a list."""
    return re.findall(rf"^ *```{language}\n(.*?)```", text, re.DOTALL | re.MULTILINE)


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "changes_from_lambda" in block]
    exec(example, {"event": payload("lambda-dynamodb")})  # noqa: S102  (the README's own code)
    assert "Changed(before='Zürich', after='Genève')" in capsys.readouterr().out


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_the_handler_example_works_as_it_stands_there(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.startswith("CDC_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(ROOT if where == "here" else tmp_path)
    (example,) = [block for block in blocks("python") if "handler_for" in block]
    scope: dict[str, Any] = {}
    exec(example, scope)  # noqa: S102  (the README's own code)

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 10_000

    event = {"Records": payload("lambda-dynamodb")["Records"][:1]}
    assert scope["handler"](event, Context()) == {"batchItemFailures": []}
    assert "a new item" in capsys.readouterr().out


@pytest.mark.parametrize("example", [dedent(block) for block in blocks("yaml")], ids=["users", "shop"])
def test_the_mapping_example_has_no_fault(example: str) -> None:
    assert parse_mapping(example, source="README.md").documents


def test_the_archive_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in blocks("python") if "read_archive" in block]
    server = SimulatedS3(SimulatedClock())
    mapping = parse_mapping("table: shop", source="shop.yml")
    sink = S3Archive(server, "lake", lambda _table: mapping)  # type: ignore[arg-type]
    views = [change({"pk": view.value}, None, {}, sequence=n, view=view) for n, view in enumerate(StreamView, 1)]
    sink.write(views, Deadline.after(10))
    sink.flush(Deadline.after(10))
    exec(example, {"s3_client": server})  # noqa: S102  (the README's own code)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1", "2", "3", "4"]


def test_the_differences_are_as_they_are_shown() -> None:
    (example,) = [block for block in blocks("python") if block.startswith("{")]
    shown = eval(example, vars(cdc))  # noqa: S307  (the README's own code)
    _, modify, *_ = cdc.changes_from_lambda(payload("lambda-dynamodb"))
    assert shown.items() <= dict(modify.differences()).items()


def test_every_block_of_python_in_the_readme_is_run_above() -> None:
    assert len(blocks("python")) == 4


def test_every_command_that_is_named_exists() -> None:
    from typer.main import get_command

    from consumers.cli.main import app

    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "mappings" / "README.md"]:
        for line in "\n".join(blocks("sh", path.read_text(encoding="utf-8"))).splitlines():
            if line.strip().startswith("cdc "):
                command: Any = get_command(app)
                for word in shlex.split(line, comments=True)[1:]:
                    if hasattr(command, "commands") and not word.startswith("--"):
                        if word not in command.commands and command.params:
                            continue  # the value of an option of the group
                        assert word in command.commands, f"{path}: {line}"
                        command = command.commands[word]
                    elif word.startswith("--"):
                        assert any(
                            word in (*parameter.opts, *parameter.secondary_opts) for parameter in command.params
                        ), f"{path}: {line}"


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


def test_no_module_is_long() -> None:
    for folder in ("cdc", "consumers", "local", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
