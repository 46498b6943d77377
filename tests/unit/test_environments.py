"""A tool's environment is installed once, and what can't be installed is said in a few lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.errors import ConfigError
from local.environments import install_environment


def test_an_environment_is_installed_once_and_anew_when_its_requirements_change(tmp_path: Path) -> None:
    requirements, told = tmp_path / "tool.txt", list[tuple[str, int, int]]()

    def install() -> Path:
        return install_environment(tmp_path / "tool", requirements, "the tool", lambda *one: told.append(one))

    requirements.write_text("# nothing\n")
    python = install()
    assert python.exists()
    assert install() == python
    assert told == [("the tool", 0, 1), ("the tool", 1, 1)]
    requirements.write_text("# nothing more\n")
    install()
    assert len(told) == 4


def test_what_cannot_be_installed_is_named_and_tried_again_the_next_time(tmp_path: Path) -> None:
    requirements = tmp_path / "tool.txt"
    requirements.write_text("./no/such/package.whl\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"^the tool can't be installed: -m uv .*\n"):
            install_environment(tmp_path / "tool", requirements, "the tool", lambda *_: None)
