"""Real servers for contract and integration tests: started once a session, when the first test asks."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from local.aws import FORMS, running_aws
from local.demo.traffic import make_table
from local.servers import Servers, running
from tests.turns import not_their_turn, today

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from local.emulator import LambdaFunction

# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REAL = ("integration", "contract", "chaos")
NOT_REAL = ("[memory", "[simulated")
"""How the names of those tests of a contract go on that need no server."""


def pytest_configure() -> None:
    """The day is the same in each process, though midnight may pass between."""
    today()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that talk to real servers carry the marker, by their folder; they run last, some in turns."""
    left = not_their_turn(items, today())
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    for item in items:
        if Path(item.path).parent.name in REAL and not any(name in item.name for name in NOT_REAL):
            item.add_marker(pytest.mark.integration)
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """AWS and OpenSearch. AWS is what the variables `AWS_ENDPOINT_URL…` point at, else what `make test AWS=…` names."""
    form = os.environ.get("AWS") or FORMS[0]
    there = form == "account" or any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ)
    found = running_aws(os.environ) if there else None
    with running(lambda _text, _done, _total: None, form=form, aws=found) as started:
        yield started


@pytest.fixture(scope="session")
def lambda_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Lambda function's zip for this machine, built once, whichever of pytest's processes asks first."""
    from local.lambda_here import build_here

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with (shared / "lambda-package.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = list(shared.glob("lambda-package/*.zip"))
        return built[0] if built else build_here(shared / "lambda-package")


@pytest.fixture(scope="session")
def in_lambda(
    servers: Servers, lambda_package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., LambdaFunction]]:
    """Starts the package in Lambda's own runtime, on the servers: `(handler, environment, timeout_seconds)`."""
    from local.emulator import install_emulator, launch_function

    if sys.platform != "linux":
        pytest.skip("NOT TESTED: Lambda's emulator runs on Linux only")
    runtime = install_emulator(lambda _text, _done, _total: None)
    with ExitStack() as started:

        def launch(handler: str, environment: Mapping[str, str], timeout_seconds: int = 30) -> LambdaFunction:
            run = tmp_path_factory.mktemp("function")
            everything = {**servers.environment(), **environment}
            function = launch_function(
                run, runtime, lambda_package, handler, everything, timeout_seconds=timeout_seconds
            )
            started.callback(function.stop)
            return function

        yield launch


@pytest.fixture
def environment(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that points SDKs and consumers at the servers, set for this process too."""
    for name, value in servers.environment().items():
        monkeypatch.setenv(name, value)
    return servers.environment()


@pytest.fixture
def aws(environment: dict[str, str]) -> Any:
    """A factory of boto3's clients for AWS on this machine."""
    import boto3

    return boto3.client


@pytest.fixture
def bucket(aws: Any) -> str:
    """A new bucket."""
    name = f"bucket-{uuid4().hex[:12]}"
    aws("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def opensearch(environment: dict[str, str]) -> OpenSearch:
    """A client of OpenSearch."""
    from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client

    return opensearch_client(OpenSearchOptions(endpoint=environment["CDC_OPENSEARCH_ENDPOINT"]))


@pytest.fixture
def index() -> str:
    """The name of an index that is not there yet."""
    return f"index-{uuid4().hex[:12]}"


@pytest.fixture
def table(aws: Any) -> tuple[str, str]:
    """A new table with the keys pk and sk, and its stream's ARN."""
    name = f"table-{uuid4().hex[:12]}"
    return name, make_table(aws("dynamodb"), name)
