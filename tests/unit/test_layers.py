"""The layers: the library knows nothing of Lambda, the KCL or the process that it runs in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", modules("cdc"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_library_imports_no_consumer(path: Path) -> None:
    assert not [name for name in imported(path) if name.split(".")[0] in ("consumers", "local", "tests", "benchmarks")]


@pytest.mark.parametrize("path", modules("consumers"), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_consumers_import_nothing_of_this_checkout_alone(path: Path) -> None:
    assert not [name for name in imported(path) if name.split(".")[0] in ("local", "tests", "benchmarks")]


def test_lazy_imports_are_the_lambda_s_entries_alone() -> None:
    users = [path.name for path in modules("consumers") if "consumers.aws_lambda.lazy_imports" in set(imported(path))]
    assert sorted(users) == ["entry_audit.py", "entry_changes.py", "entry_load.py", "entry_redrive.py"]
