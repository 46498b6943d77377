"""A project of its own that has the package installed gets its types: what `py.typed` promises."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROJECT = """
from collections.abc import Mapping, Sequence
from typing import Any

from cdc import Applied, Change, Deadline, Outcome, Sink, changes_from_lambda
from cdc.testing import change
from consumers.aws_lambda import handler_for


class Printing:
    name = "printing"

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return [Applied() for one in changes]

    def flush(self, deadline: Deadline) -> None: ...

    def close(self) -> None: ...


def tables(event: Mapping[str, Any]) -> set[str]:
    return {one.table for one in changes_from_lambda(event)}


sink: Sink = Printing()
handler = handler_for(on_insert=lambda one: print(one.keys))
reveal_type(change({"pk": "a"}).differences())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a virtual environment that has the package and its dependencies, and one file of code."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    for package in ("cdc", "consumers"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "project.py").write_text(PROJECT)
    return tmp_path


def mypy(project: Path) -> str:
    python = project / "venv" / "bin" / "python"
    cache = ROOT / ".mypy_cache" / "another-project"
    arguments = ["--strict", "--config-file=", f"--cache-dir={cache}", f"--python-executable={python}", "project.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *arguments], cwd=project, capture_output=True, text=True, check=False
    )
    return done.stdout


def test_a_strict_project_sees_the_types(project: Path) -> None:
    said = mypy(project)
    assert "Success: no issues found" in said, said
    assert "Added" in said.partition("Revealed type is")[2]


@pytest.mark.parametrize("module", ["cdc", "consumers.aws_lambda"])
def test_a_name_that_is_imported_late_has_to_exist(project: Path, module: str) -> None:
    (project / "project.py").write_text(f"from {module} import no_such_name\n")
    assert f'Module "{module}" has no attribute "no_such_name"' in mypy(project)


def test_without_the_marker_it_sees_none(project: Path) -> None:
    for marker in project.rglob("py.typed"):
        if "site-packages/cdc" in str(marker):
            marker.unlink()
    assert "py.typed" in mypy(project)


def test_the_marker_is_in_the_package() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "py.typed" in config["options.package_data"]["*"]
    assert (ROOT / "cdc" / "py.typed").exists()
    assert (ROOT / "consumers" / "py.typed").exists()
