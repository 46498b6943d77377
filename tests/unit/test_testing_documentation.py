"""The examples of docs/testing.md run, and its table names all that `cdc.testing` exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cdc import testing

TEXT = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", BLOCKS, ids=["functions", "mapping", "around a sink"])
def test_an_example_runs(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    assert "assert" in example
    scope: dict[str, Any] = {}
    exec(example, scope)  # noqa: S102  (the guide's own code)


def test_the_mapping_example_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [block for block in BLOCKS if "parse_mapping" in block]
    exec(example, {})  # noqa: S102  (the guide's own code)
    assert capsys.readouterr().out.strip() == example.strip().rpartition("# ")[2]


@pytest.mark.parametrize("name", testing.__all__)
def test_the_guide_names_what_is_exported(name: str) -> None:
    table = TEXT[: TEXT.index("## Your functions")]
    assert re.search(rf"`{name}\b", table)
