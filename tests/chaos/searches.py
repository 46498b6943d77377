"""Searches: a client that asks through the alias all the time, and notes each answer that a reader should never get."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import tenacity

from tests.chaos.world import World

__all__ = ["Searches"]

_PAUSE_SECONDS = 0.02
_OLD_SECONDS = 5.0
"""An answer may be as old as what a reader of the stream has in hand, and a refresh."""
_PATIENCE_SECONDS = 120.0
_LEAST = 100
"""Documents that the index has at any moment, once it was filled."""
_KEPT = 2000


@dataclass
class Searches:
    """Searches of one alias, whose table has its name. No error, no index that is empty, no document that is older than
    it was: an item is counted up, and searched."""

    world: World
    index: str
    turns: int = 0
    _is_down: bool = False
    _failure: str = ""
    _seen: list[tuple[float, int]] = field(default_factory=list)
    _written: int = 0

    @property
    def _dynamodb(self) -> Any:
        return self.world.client("dynamodb")

    @contextmanager
    def running(self) -> Iterator[None]:
        """They are asked within the block.

        Raises:
            AssertionError: an answer was one that nobody should get.
        """
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
        assert not self._failure, self._failure

    @contextmanager
    def down(self) -> Iterator[None]:
        """Within the block the server may be out of reach."""
        self._is_down = True
        try:
            yield
        finally:
            self._is_down = False

    def await_documents(self, count: int) -> None:
        """Return when so many are found."""
        self._until(lambda: self._ask("_count")["count"] >= count)

    def await_turns(self, count: int) -> None:
        """Return when so many more were asked."""
        wanted = self.turns + count
        self._until(lambda: self.turns >= wanted or bool(self._failure))

    def _until(self, holds: Any) -> None:
        tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda done: not done) | tenacity.retry_if_exception_type(OSError),
            wait=tenacity.wait_fixed(0.2),
            stop=tenacity.stop_after_delay(_PATIENCE_SECONDS),
        )(holds)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(_PAUSE_SECONDS) and not self._failure:
            try:
                self._turn()
            except (OSError, ValueError) as error:
                if not self._is_down:
                    self._failure = f"a search failed: {type(error).__name__}: {error}"

    def _turn(self) -> None:
        self._written += 1
        key = {"pk": {"S": "clock"}, "sk": {"S": "x"}}
        self._dynamodb.put_item(TableName=self.index, Item={**key, "n": {"N": str(self._written)}})
        hits = self._ask("_search", {"query": {"ids": {"values": ["clock|x"]}}})["hits"]["hits"]
        now, found = time.monotonic(), int(hits[0]["_source"]["n"]) if hits else 0
        total = self._ask("_count")["count"]
        self.turns += 1
        before = max((number for at, number in self._seen if at < now - _OLD_SECONDS), default=0)
        if total < _LEAST:
            self._failure = f"the index has {total} documents"
        elif found < before:
            self._failure = f"a search finds {found}, and found {before} more than {_OLD_SECONDS:.0f} s ago"
        self._seen = [*self._seen[-_KEPT:], (now, found)]

    def _ask(self, what: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self.world.opensearch.url}/{self.index}/{what}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
