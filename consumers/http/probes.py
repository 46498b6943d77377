"""Reach: whether the sinks answer, looked at again and again by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.deadline import Clock
from consumers.clients import Clients
from consumers.settings import Settings

__all__ = ["Probe", "SinkProbes", "probes_of"]

log = logging.getLogger(__name__)

Probe = Callable[[], str]
"""Looks at one sink: what is wrong with it, or nothing. Raises nothing; ends within seconds."""

_SECONDS = 10.0
_STALE_SECONDS = 120.0


@dataclass(slots=True)
class _Seen:
    found: dict[str, str] = field(default_factory=dict)
    unclaimed: int | None = None
    at: float | None = None


@dataclass(frozen=True)
class SinkProbes:
    """What the last look at each sink saw. An answer of health must not wait for a sink that hangs."""

    probes: Mapping[str, Probe]
    unclaimed: Callable[[], int | None] = lambda: None
    """How many shards no worker reads; asked by the same thread, since it asks the lease table. It may raise."""
    clock: Clock = time.monotonic
    _seen: _Seen = field(default_factory=_Seen, repr=False, compare=False)

    def look(self) -> None:
        """Ask every sink."""
        found = {name: probe() for name, probe in self.probes.items()}
        self._seen.found = {name: problem for name, problem in found.items() if problem}
        self._seen.at = self.clock()
        self._seen.unclaimed = None
        self._seen.unclaimed = self.unclaimed()

    def unreachable(self) -> Mapping[str, str]:
        """By each sink that did not answer, what was seen; all of them while nothing is known."""
        if self._seen.at is None:
            return dict.fromkeys(self.probes, "not looked at yet")
        age = self.clock() - self._seen.at
        if age > _STALE_SECONDS:
            return dict.fromkeys(self.probes, f"the last look is {age:.0f} s old")
        return self._seen.found

    def unclaimed_shards(self) -> int | None:
        """As the last look found it; None: not known."""
        return self._seen.unclaimed

    def start(self, stop: threading.Event) -> None:
        """Look every few seconds, on a daemon thread, until `stop`."""

        def run() -> None:
            while True:
                try:
                    self.look()
                except Exception as error:  # noqa: BLE001  (Java's too: the next look may succeed)
                    log.warning("what the consumer needs can't be looked at: %s", type(error).__name__)
                if stop.wait(_SECONDS):
                    return

        threading.Thread(target=run, name="reach", daemon=True).start()


def probes_of(clients: Clients, settings: Settings) -> dict[str, Probe]:
    """A probe for each place that the pipelines write to. Answers of permission count as reached: a probe may be
    denied what a write is allowed, and a write that is denied holds its shard."""
    probes: dict[str, Probe] = {}
    if clients.opensearch is not None:
        probes["opensearch"] = lambda: _opensearch(clients.opensearch)
    if clients.archive is not None:
        probes["archive"] = lambda: _bucket(clients.archive, settings.archive_bucket)
    if (letters := clients.letters) is not None:
        probes["dead letters"] = lambda: _bucket(letters.client, letters.bucket)
    return probes


def _opensearch(client: Any) -> str:
    from opensearchpy.exceptions import OpenSearchException

    try:
        client.transport.perform_request("HEAD", "/", params={"request_timeout": 5})
    except OpenSearchException as error:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return f"out of reach: {type(error).__name__}"
        return f"it answers {status}" if status >= 500 else ""
    return ""


def _bucket(client: Any, bucket: str | None) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
        if status == 404:
            return f"there is no bucket {bucket}"
        return f"it answers {status}" if status >= 500 else ""
    except BotoCoreError as error:
        return f"out of reach: {type(error).__name__}"
    return ""
