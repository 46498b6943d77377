"""The core's crate: few dependencies, all of them of licences that the project may be shipped with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CRATE = Path(__file__).parents[2] / "core"
FREE = {"MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"}


def crates() -> list[dict[str, Any]]:
    if shutil.which("cargo") is None:
        pytest.skip("there is no Rust toolchain")
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--manifest-path", str(CRATE / "Cargo.toml")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(told.stdout)["packages"]
    return found


def is_free(licence: str) -> bool:
    """Is there a choice of which every part is free?"""
    choices = re.split(r" OR |/", licence.replace("(", "").replace(")", ""))
    return any(set(choice.split(" AND ")) <= FREE for choice in choices)


def test_all_that_the_core_is_made_of_may_be_shipped() -> None:
    found = crates()
    assert [one["name"] for one in found if not is_free(one["license"] or "")] == []
    assert len(found) < 30


def test_the_core_depends_on_two_crates_and_has_nothing_unsafe() -> None:
    text = (CRATE / "Cargo.toml").read_text()
    dependencies = text.partition("[dependencies]\n")[2].partition("\n\n")[0]
    assert re.findall(r"^(\w+) =", dependencies, re.MULTILINE) == ["pyo3", "sha2"]
    assert 'unsafe_code = "forbid"' in text
