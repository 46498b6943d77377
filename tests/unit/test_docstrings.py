"""A docstring begins with a subject or a verb that a stranger would use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("cdc", "consumers", "local", "tests", "benchmarks", "examples")
RIDDLES = ("What", "As", "Of", "Whoever")
"""First words of sentences that name nothing: "What stands around a sink"."""


def texts(path: Path) -> Iterator[str]:
    """The docstrings of a file, those below assignments too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text


def riddles(path: Path) -> list[str]:
    """The first lines of docstrings that are empty, or begin with one of those words."""
    return [text.strip().partition("\n")[0] for text in texts(path) if (text.split() or ["What"])[0] in RIDDLES]


def files() -> list[str]:
    return [str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_no_docstring_begins_with_a_riddle() -> None:
    found = {name: riddles(ROOT / name) for name in files()}
    assert not {name: lines for name, lines in found.items() if lines}


def test_a_riddle_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.py"
    page.write_text('"""Whoever reads."""\nX = 1\n"""Of x."""\n\ndef f():\n    """Answers."""\n')
    assert riddles(page) == ["Whoever reads.", "Of x."]
