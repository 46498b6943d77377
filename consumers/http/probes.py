"""Reach: whether the sinks answer, looked at again and again by a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.causes import CauseKind
from cdc.deadline import Clock
from cdc.errors import ConfigError, SinkUnavailable
from consumers.clients import Clients
from consumers.settings import Settings

__all__ = ["Probe", "Problem", "SinkProbes", "check_once", "probes_of"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault that a probe saw. `remedy` is there where the set-up is wrong: else the next look may find it well."""

    text: str
    remedy: str = ""


Probe = Callable[[], Problem | None]
"""Looks at one sink, and says what is wrong with it. Raises nothing; ends within seconds."""

_SECONDS = 10.0
_STALE_SECONDS = 120.0


@dataclass(slots=True)
class _Seen:
    found: dict[str, str] = field(default_factory=dict)
    unclaimed: int | None = None
    at: float | None = None


@dataclass(frozen=True)
class SinkProbes:
    """Keeps what the last look at each sink saw. An answer of health must not wait for a sink that hangs."""

    probes: Mapping[str, Probe]
    unclaimed: Callable[[], int | None] = lambda: None
    """How many shards no worker reads; asked by the same thread, since it asks the lease table. It may raise."""
    clock: Clock = time.monotonic
    _seen: _Seen = field(default_factory=_Seen, repr=False, compare=False)

    def look(self) -> None:
        """Ask every sink."""
        found = {name: probe() for name, probe in self.probes.items()}
        self._seen.found = {name: problem.text for name, problem in found.items() if problem is not None}
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
        """The number that the last look found; None: not known."""
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


def check_once(probes: Mapping[str, Probe]) -> None:
    """Ask every sink once, at the start.

    Raises:
        ConfigError: a bucket is not there.
        SinkUnavailable: a sink does not answer.
    """
    for name, probe in probes.items():
        problem = probe()
        if problem is None:
            continue
        if problem.remedy:
            raise ConfigError(f"{name}: {problem.text}", remedy=problem.remedy)
        raise SinkUnavailable(
            name,
            problem.text,
            kind=CauseKind.OUT_OF_REACH,
            remedy=f"{_REMEDIES[name]}, or start again when it answers.",
        )


_REMEDIES = {
    "opensearch": "Check CDC_OPENSEARCH_ENDPOINT and CDC_OPENSEARCH_AUTH",
    "archive": "Check AWS_REGION and AWS_ENDPOINT_URL",
    "dead letters": "Check AWS_REGION and AWS_ENDPOINT_URL",
}


def probes_of(clients: Clients, settings: Settings) -> dict[str, Probe]:
    """A probe for each place that the pipelines write to. Answers of permission count as reached: a probe may be
    denied what a write is allowed, and a write that is denied holds its shard."""
    probes: dict[str, Probe] = {}
    if clients.opensearch is not None:
        probes["opensearch"] = lambda: _opensearch(clients.opensearch)
    if clients.archive is not None:
        probes["archive"] = lambda: _bucket(clients.archive, settings.archive_bucket, "CDC_ARCHIVE_BUCKET")
    if (letters := clients.letters) is not None:
        probes["dead letters"] = lambda: _bucket(letters.client, letters.bucket, "CDC_DEAD_LETTER_BUCKET")
    return probes


def _opensearch(client: Any) -> Problem | None:
    from opensearchpy.exceptions import OpenSearchException

    try:
        client.transport.perform_request("HEAD", "/", params={"request_timeout": 5})
    except OpenSearchException as error:
        status = getattr(error, "status_code", None)
        if not isinstance(status, int):
            return Problem(f"out of reach: {type(error).__name__}")
        return Problem(f"it answers {status}") if status >= 500 else None
    return None


def _bucket(client: Any, bucket: str | None, setting: str) -> Problem | None:
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
        if status == 404:
            return Problem(
                f"there is no bucket {bucket}",
                f"Set {setting} to a bucket that is there, or make it: aws s3 mb s3://{bucket}",
            )
        if status in (301, 400):
            return Problem(f"the bucket {bucket} is in another region", f"Set AWS_REGION to it, or {setting} anew.")
        return Problem(f"it answers {status}") if status >= 500 else None
    except ParamValidationError:
        return Problem(f"{bucket!r} is no name of a bucket", f"Set {setting} to a bucket that is there.")
    except BotoCoreError as error:
        return Problem(f"out of reach: {type(error).__name__}")
    return None
