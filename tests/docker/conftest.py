"""One compose project for all of these tests; without an engine they are skipped, and say so."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.docker.engine import Composed, composed


def _engine_is_there() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = (["docker", "info"], ["docker", "compose", "version"])
    return all(subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in asked)


@pytest.fixture(scope="session")
def system() -> Iterator[Composed]:
    """The compose file's project, its image built, nothing of it started."""
    if not _engine_is_there():
        pytest.skip("NOT TESTED: no Docker engine with compose v2 answers here")
    with composed(f"cdc-test-{os.getpid()}") as project:
        yield project
