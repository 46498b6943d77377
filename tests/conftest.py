"""Real servers for contract and integration tests: started once a session, when the first test asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from local.demo.traffic import make_table
from local.servers import Servers, running

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

REAL = ("integration", "contract", "chaos")
NOT_REAL = ("[memory", "[simulated")
"""How the names of those tests of a contract go on that need no server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that talk to real servers carry the marker, by their folder; they run last.

    One that fails is run once more, and the report says so: on a busy machine a server may start too late.
    """
    for item in items:
        if Path(item.path).parent.name in REAL and not any(name in item.name for name in NOT_REAL):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """LocalStack and OpenSearch."""
    with running(lambda _text, _done, _total: None) as started:
        yield started


@pytest.fixture
def environment(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that points SDKs and consumers at the servers, set for this process too."""
    for name, value in servers.environment().items():
        monkeypatch.setenv(name, value)
    return servers.environment()


@pytest.fixture
def aws(environment: dict[str, str]) -> Any:
    """A factory of boto3's clients for LocalStack."""
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
    from cdc.settings import load_settings
    from cdc.sinks.client import opensearch_client

    return opensearch_client(load_settings({"CDC_OPENSEARCH_ENDPOINT": environment["CDC_OPENSEARCH_ENDPOINT"]}))


@pytest.fixture
def index() -> str:
    """The name of an index that is not there yet."""
    return f"index-{uuid4().hex[:12]}"


@pytest.fixture
def table(aws: Any) -> tuple[str, str]:
    """A new table with the keys pk and sk, and its stream's ARN."""
    name = f"table-{uuid4().hex[:12]}"
    return name, make_table(aws("dynamodb"), name)
