"""The Docker engine by its command line: one compose project, on free ports, all of it gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.process import free_port

__all__ = ["IMAGE", "Composed", "composed", "docker", "until"]

ROOT = Path(__file__).parents[2]
IMAGE = "dynamodb-cdc"


def docker(*arguments: str, environment: dict[str, str] | None = None, timeout: float = 600) -> str:
    """Run `docker …` in the project's folder; what it prints.

    Raises:
        AssertionError: it fails; with all that it said.
    """
    done = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def until(happens: Callable[[], Any], seconds: float, otherwise: Callable[[], str] = lambda: "") -> Any:
    """What `happens` answers once it is true.

    Raises:
        AssertionError: it does not become true in time; with what `otherwise` says.
    """
    end = time.monotonic() + seconds
    while not (answer := happens()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {otherwise()}"
        time.sleep(0.3)
    return answer


@dataclass(frozen=True)
class Composed:
    """The compose file as a project of its own."""

    project: str
    opensearch_port: int = field(default_factory=free_port)
    localstack_port: int = field(default_factory=free_port)
    traffic_seconds: int = 12

    @property
    def opensearch(self) -> str:
        return f"http://127.0.0.1:{self.opensearch_port}"

    @property
    def localstack(self) -> str:
        return f"http://127.0.0.1:{self.localstack_port}"

    def __call__(self, *arguments: str, timeout: float = 600) -> str:
        """Run `docker compose …`; what it prints."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "AWS_", "COMPOSE_"))}
        return docker(
            "compose",
            "--project-name",
            self.project,
            "--env-file",
            os.devnull,
            *arguments,
            environment={
                **kept,
                "OPENSEARCH_PORT": str(self.opensearch_port),
                "LOCALSTACK_PORT": str(self.localstack_port),
                "TRAFFIC_SECONDS": str(self.traffic_seconds),
            },
            timeout=timeout,
        )

    def logs(self, *services: str) -> str:
        """What they have said."""
        return self("logs", "--no-color", "--no-log-prefix", *services)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """The service's containers, as `docker inspect` describes them, those that have ended too."""
        identifiers = self("ps", "--all", "--quiet", service).split()
        return [] if not identifiers else list(json.loads(docker("inspect", *identifiers)))


@contextmanager
def composed(project: str) -> Iterator[Composed]:
    """The image, built; what is started of the project is taken down with its volumes."""
    system = Composed(project)
    system("build")
    try:
        yield system
    finally:
        system("--profile", "*", "down", "--volumes", "--timeout", "20")
