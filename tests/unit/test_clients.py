"""Clients of AWS that are made late."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from consumers.clients import LateClient


def test_a_late_client_is_not_made_before_it_is_used() -> None:
    made: list[str] = []
    LateClient(lambda: made.append("client"))
    assert made == []


def test_a_late_client_is_made_once_however_many_threads_ask_for_it_at_the_same_time() -> None:
    made: list[str] = []
    together = threading.Barrier(4)

    def make() -> SimpleNamespace:
        made.append("client")
        return SimpleNamespace(name="s3", number=len(made))

    client = LateClient(make)

    def ask(_: int) -> tuple[str, int]:
        together.wait()
        return client.name, client.number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [("s3", 1)] * 4
    assert made == ["client"]


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("http://search.example.com", "search.example.com", 80),
        ("http://search.example.com/", "search.example.com", 80),
        ("http://search.example.com/below", "search.example.com", 80),
        ("http://user:word@search.example.com", "search.example.com", 80),
        ("http://[::1]", "::1", 80),
        ("http://localhost:9200", "localhost", 9200),
        ("https://search.example.com", "search.example.com", 443),
        ("https://search.example.com:8443", "search.example.com", 8443),
    ],
)
def test_an_endpoint_without_a_port_has_that_of_its_scheme(endpoint: str, host: str, port: int) -> None:
    (found,) = opensearch_client(OpenSearchOptions(endpoint=endpoint)).transport.hosts
    assert (found["host"], found["port"]) == (host, port)
