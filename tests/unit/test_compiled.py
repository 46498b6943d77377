"""Compiled modules have the same source: nothing of it may need what machine code does not have."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import cdc


def compiled() -> list[str]:
    """The modules that setup.py names."""
    text = (Path(__file__).parents[2] / "setup.py").read_text()
    listed = text[text.index("COMPILED = [") : text.index("]")]
    return [line.strip(' ",').removesuffix(".py").replace("/", ".") for line in listed.splitlines()[1:] if line.strip()]


def test_every_module_that_is_compiled_is_there() -> None:
    assert "cdc.records.attributes" in compiled()
    for name in compiled():
        assert importlib.import_module(name).__name__ == name


def test_all_of_them_are_machine_code_or_none_is() -> None:
    """A wheel of both would mean that an old build is found beside new source."""
    wanted = ".py" if Path(cdc.__file__).parent.parent == Path(__file__).parents[2] else ".so"
    if os.name == "nt":
        wanted = wanted.replace(".so", ".pyd")
    assert {Path(str(sys.modules[name].__file__)).suffix for name in compiled()} == {wanted}
