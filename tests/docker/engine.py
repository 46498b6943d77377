"""The Docker engine by its command line: one compose project, on free ports, all of it gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.compose.init import ask
from local.demo.judge import Verdict, judge, read_stream
from local.demo.traffic import TABLE
from local.process import free_port

__all__ = ["ENGINE_IMAGE", "IMAGE", "Composed", "composed", "docker", "until"]

ROOT = Path(__file__).parents[2]
IMAGE = "dynamodb-cdc"
ENGINE_IMAGE = "dynamodb-cdc-engine"


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
    """The answer of `happens` once it is true.

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
    profiles: tuple[str, ...] = ()
    opensearch_port: int = field(default_factory=free_port)
    engine_port: int = field(default_factory=free_port)
    localstack_port: int = field(default_factory=free_port)
    traffic_seconds: int = 12

    @property
    def opensearch(self) -> str:
        return f"http://127.0.0.1:{self.opensearch_port}"

    def aws(self, service: str) -> Any:
        """A boto3 client of the project's AWS."""
        import boto3

        tables = service in {"dynamodb", "dynamodbstreams"}
        client: Any = boto3.client
        return client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.engine_port if tables else self.localstack_port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def found(self) -> int:
        """How many orders can be searched."""
        try:
            return int(ask(self.opensearch, "/orders/_search?size=0")["hits"]["total"]["value"])
        except (urllib.error.URLError, OSError):
            return 0

    def judged(self) -> Verdict:
        """The whole table beside the index, and the whole stream beside the archive."""
        streams = self.aws("dynamodbstreams")
        (stream,) = streams.list_streams(TableName=TABLE)["Streams"]
        return judge(
            self.aws("dynamodb"),
            self.aws("s3"),
            table=TABLE,
            records=read_stream(streams, stream["StreamArn"]),
            opensearch_url=self.opensearch,
            bucket="lake",
        )

    def await_equal(self, seconds: float = 120) -> Verdict:
        """The first good verdict."""
        last = Verdict()

        def equal() -> bool:
            nonlocal last
            last = self.judged()
            return last.is_good

        until(equal, seconds, lambda: f"{last}\n{self.logs('consumer')[-4000:]}")
        return last

    def __call__(self, *arguments: str, timeout: float = 600) -> str:
        """Run `docker compose …`; what it prints."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "AWS_", "COMPOSE_"))}
        return docker(
            "compose",
            "--project-name",
            self.project,
            "--env-file",
            os.devnull,
            *(option for profile in self.profiles for option in ("--profile", profile)),
            *arguments,
            environment={
                **kept,
                "OPENSEARCH_PORT": str(self.opensearch_port),
                "ENGINE_PORT": str(self.engine_port),
                "LOCALSTACK_PORT": str(self.localstack_port),
                "TRAFFIC_SECONDS": str(self.traffic_seconds),
            },
            timeout=timeout,
        )

    def logs(self, *services: str) -> str:
        """The lines that they have printed."""
        return self("logs", "--no-color", "--no-log-prefix", *services)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """The service's containers, as `docker inspect` describes them, those that have ended too."""
        identifiers = self("ps", "--all", "--quiet", service).split()
        return [] if not identifiers else list(json.loads(docker("inspect", *identifiers)))


@contextmanager
def composed(project: str, *profiles: str) -> Iterator[Composed]:
    """The images, built; what is started of the project is taken down with its volumes."""
    system = Composed(project, profiles)
    system("build")
    try:
        yield system
    finally:
        system("--profile", "*", "down", "--volumes", "--timeout", "20")
