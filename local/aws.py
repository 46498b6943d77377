"""AWS on this machine, in one of three forms: the engine alone, LocalStack beside the engine, or what runs already.

LocalStack's own DynamoDB is a product under its vendor's licence, which this project neither fetches nor uses: in its
form LocalStack serves all but DynamoDB and DynamoDB Streams, which the engine serves (docs/decisions/0027), as it does
Lambda and Step Functions.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any
from urllib.request import urlopen

from cdc.errors import ConfigError
from consumers.kcl.java.artifacts import cache_folder
from local.environments import Progress, install_environment
from local.process import ServerProcess, free_port, start

__all__ = ["FORMS", "REGION", "Aws", "Installed", "endpoint_of", "install_aws", "launch_aws", "running_aws"]

REGION = "us-east-1"
FORMS = ("localstack", "engine")

_HERE = Path(__file__).parent
_OF_THE_ENGINE = ("DYNAMODB", "DYNAMODB_STREAMS", "LAMBDA", "SFN")
"""Served by the engine beside LocalStack: its tables, and the functions that LocalStack runs in Docker alone."""
_SERVICES = "s3,sqs,sns,kinesis,sts,kms,events,cloudwatch"
"""The services that LocalStack may load; it refuses what is not named."""
_CREDENTIALS = {
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
}


@dataclass(frozen=True)
class Aws:
    """Running servers: where they are, and their processes (none where somebody else started them)."""

    variables: Mapping[str, str]
    """Endpoints, region and credentials, by the variables that AWS's SDKs read."""
    processes: tuple[ServerProcess, ...] = ()

    def environment(self) -> dict[str, str]:
        """The variables that point an AWS SDK at it."""
        return dict(self.variables)

    def endpoint(self, service: str) -> str | None:
        """The URL of a service, named as boto3 names it; None is AWS itself."""
        return endpoint_of(self.variables, service)

    def client(self, service: str) -> Any:
        """A boto3 client of it, whatever this process's own environment says."""
        import boto3
        from botocore.config import Config

        make: Any = boto3.client
        return make(
            service,
            endpoint_url=self.endpoint(service),
            region_name=self.variables.get("AWS_REGION"),
            aws_access_key_id=self.variables.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=self.variables.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=self.variables.get("AWS_SESSION_TOKEN"),
            config=Config(
                read_timeout=60, max_pool_connections=16, retries={"mode": "standard", "total_max_attempts": 5}
            ),
        )

    def wait(self) -> None:
        """Return when all of it answers.

        Raises:
            ServerFailed: a server ends, or does not answer in time.
        """
        for process, url in zip(self.processes, self._urls(), strict=False):
            process.wait_until(partial(_answers, url), 90)

    def _urls(self) -> list[str]:
        """The addresses of the processes, in their order: the tables' server first."""
        names = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL")
        return [self.variables[name] for name in names if name in self.variables]

    def stop(self) -> None:
        """Stop what was started here."""
        for process in reversed(self.processes):
            process.stop()


@dataclass(frozen=True)
class Installed:
    """The Pythons of the servers, each in an environment of its own."""

    engine: Path
    localstack: Path | None = None


def install_aws(progress: Progress, form: str = "engine") -> Installed:
    """The servers of a form; what is there already is kept.

    Raises:
        ConfigError: the form is unknown, this Python is none that they run on, or something can't be installed.
    """
    if form not in FORMS:
        raise ConfigError(f"AWS={form}: there is no such form", remedy=f"Use one of: {', '.join(FORMS)}.")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    requirements = {"3.11": "py311", "3.12": "py312", "3.13": "py312"}.get(version)
    if requirements is None:
        raise ConfigError(
            f"the local servers run on Python 3.11, 3.12 or 3.13; this is {version}",
            remedy="Run `make clean`, then `make demo PYTHON=python3.13`.",
        )
    engine = install_environment(
        cache_folder() / f"engine-{version}",
        _HERE / "engine.txt",
        "the AWS engine",
        progress,
        *("pip", "sync", "--require-hashes"),
    )
    if form == "engine":
        return Installed(engine)
    wanted = _HERE / f"localstack-{requirements}.txt"
    folder = cache_folder() / f"localstack-{version}"
    return Installed(engine, install_environment(folder, wanted, "LocalStack (about 500 MB)", progress))


def launch_aws(run: Path, installed: Installed, **engine: str) -> Aws:
    """Start what `install_aws` gave, in the folder `run`; await it by `Aws.wait`.

    Args:
        engine: more of the engine's variables, such as `ENGINE_TTL_SECONDS`.
    """
    tables = f"http://127.0.0.1:{free_port()}"
    if installed.localstack is None:
        return Aws(
            {"AWS_ENDPOINT_URL": tables, **_CREDENTIALS}, (_start_engine(run, installed.engine, tables, engine),)
        )
    rest = f"http://127.0.0.1:{free_port()}"
    elsewhere = {"ENGINE_S3_URL": rest}
    variables = {"AWS_ENDPOINT_URL": rest, **{f"AWS_ENDPOINT_URL_{name}": tables for name in _OF_THE_ENGINE}}
    if which("npm"):
        elsewhere["ENGINE_KINESIS_URL"] = rest
    else:  # LocalStack installs its Kinesis by npm
        variables["AWS_ENDPOINT_URL_KINESIS"] = tables
    processes = (
        _start_engine(run, installed.engine, tables, {**elsewhere, **engine}),
        _start_localstack(run, installed.localstack, rest),
    )
    return Aws({**variables, **_CREDENTIALS}, processes)


def running_aws(environment: Mapping[str, str]) -> Aws:
    """The AWS that the SDK's own variables point at: a LocalStack of one's own, or an account."""
    names = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    found = {name: value for name, value in environment.items() if name in names or name.startswith("AWS_ENDPOINT_URL")}
    return Aws({**_CREDENTIALS, **found} if any("ENDPOINT" in name for name in found) else found)


def endpoint_of(variables: Mapping[str, str], service: str) -> str | None:
    """The URL that the SDK's variables give for a service, named as boto3 names it; None is AWS itself."""
    name = {"dynamodbstreams": "DYNAMODB_STREAMS", "stepfunctions": "SFN"}.get(service, service.upper())
    return variables.get(f"AWS_ENDPOINT_URL_{name}") or variables.get("AWS_ENDPOINT_URL")


def _start_engine(run: Path, python: Path, url: str, variables: Mapping[str, str]) -> ServerProcess:
    environment = {
        "GATEWAY_PORT": url.rpartition(":")[2],
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(run),
        **variables,
    }
    return start("the AWS engine", [str(python), "-m", "local.engine"], environment, run, run / "engine.log")


def _start_localstack(run: Path, python: Path, url: str) -> ServerProcess:
    port = url.rpartition(":")[2]
    environment = {
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(run / "localstack"),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"localhost:{port}",
        "SERVICES": _SERVICES,
        "SQS_ENDPOINT_STRATEGY": "path",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "LS_LOG": "warn",
    }
    return start("LocalStack", [str(python), "-m", "localstack.runtime.main"], environment, run, run / "localstack.log")


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/_localstack/health", timeout=5) as answer:  # noqa: S310  (our own server)
            return bool(answer.status == 200)
    except OSError:
        return False
