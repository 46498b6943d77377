"""The engine's image: small, nobody's, locked down, healthy when it answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest

from local.process import free_port
from tests.docker.engine import ENGINE_IMAGE, Composed, docker, until

BASE = "python:3.13-slim-trixie"
AT_MOST = 100_000_000


@pytest.fixture
def image(system: Composed) -> dict[str, Any]:
    assert system.project  # it has built the images
    (found,) = json.loads(docker("image", "inspect", ENGINE_IMAGE))
    return dict(found)


@pytest.fixture
def port(image: dict[str, Any]) -> Iterator[int]:
    """Where a container answers that has no rights, and nothing writable but what the image itself says."""
    assert image["Id"]
    port, name = free_port(), f"cdc-test-engine-{os.getpid()}"
    locked_down = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    options = ["--detach", "--name", name, "--publish", f"127.0.0.1:{port}:4566", "--health-interval", "1s"]
    docker("run", *options, *locked_down, ENGINE_IMAGE)
    try:
        until(
            lambda: docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() == "healthy",
            30,
            lambda: docker("logs", name),
        )
        yield port
        docker("stop", name)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        docker("rm", "--force", "--volumes", name)


def test_it_adds_at_most_100_mb_to_its_base(image: dict[str, Any]) -> None:
    (base,) = json.loads(docker("image", "inspect", BASE))
    added = image["Size"] - base["Size"]
    print(f"\nthe engine's image: {image['Size'] / 1e6:.0f} MB, {added / 1e6:.0f} MB of them on top of {BASE}")
    assert added <= AT_MOST


def test_it_runs_without_a_shell_as_nobody_in_particular(image: dict[str, Any]) -> None:
    config = image["Config"]
    assert config["Cmd"] == ["python", "-m", "local.engine"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_locked_down_it_becomes_healthy_answers_and_stops_in_order(port: int) -> None:
    with urlopen(f"http://127.0.0.1:{port}/_localstack/health", timeout=5) as answer:
        assert answer.status == 200


def test_it_has_the_engine_and_nothing_else_of_this_project(image: dict[str, Any]) -> None:
    assert image["Id"]
    look = "import os, importlib.util as u; print(sorted(os.listdir('local')), u.find_spec('cdc'), u.find_spec('pip'))"
    said = docker("run", "--rm", "--read-only", "--network", "none", ENGINE_IMAGE, "python", "-c", look)
    assert said.strip() == "['__init__.py', '__pycache__', 'engine'] None None"
