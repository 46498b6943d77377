"""docs/guarantees.md: every test that it names is there, and shows the exit code that the document says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from consumers.exit_codes import FAILED, HEAP_IS_FULL, ORDERLY, WRONG_SET_UP
from tests.simulation import broken_rules

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and "`test_" in line]
CODES = {ORDERLY, FAILED, WRONG_SET_UP, HEAP_IS_FULL}


def named(text: str) -> list[str]:
    return re.findall(r"`(test_\w+)`", text)


@cache
def sources() -> dict[str, str]:
    """The source of every test function, by its name."""
    return {name: source for path in (ROOT / "tests").rglob("test_*.py") for name, source in functions(path)}


def functions(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, ast.get_source_segment(text, node) or ""


def test_every_test_that_is_named_is_there() -> None:
    assert len(named(TEXT)) > 50
    assert [name for name in named(TEXT) if name not in sources()] == []


def test_every_broken_rule_that_is_named_is_there() -> None:
    rules = re.findall(r"broken rule `(\w+)`", TEXT)
    assert rules
    known = {rule.__name__ for rule in broken_rules.BROKEN_RULES}
    assert [rule for rule in rules if rule not in known] == []


def test_every_fault_that_is_named_is_one_of_chaos() -> None:
    """A claim in quotation marks in the last column is a fault of `make chaos`."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "chaos").glob("*.py"))
    quoted = {fault for row in ROWS for fault in re.findall(r'"([^"]+)"', row.rsplit("|", 2)[1])}
    assert quoted
    assert [fault for fault in sorted(quoted) if f'"{fault}"' not in text] == []


@pytest.mark.parametrize("row", [row for row in ROWS if "exit code" in row])
def test_an_exit_code_is_the_one_that_its_tests_see(row: str) -> None:
    (code,) = re.findall(r"exit code (\d+)", row)
    assert int(code) in CODES
    seen = [re.findall(r"(?:wait\(\d+\)|returncode|exit_code) == (\d+)", sources()[one]) for one in named(row)]
    assert {other for codes in seen for other in codes} == {code}


@pytest.mark.parametrize("page", ["guarantees.md", "consumer.md", "metrics.md", "dead-letters.md"])
def test_exit_codes_of_other_pages_are_those_of_the_table(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert {int(code) for code in re.findall(r"exit code (\d+)", text)} <= CODES
