"""Clients of AWS that are made late."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

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
