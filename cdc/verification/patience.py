"""Patience: requests that are asked again until they pass; throttling slows a verification and never fails it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

import tenacity

from cdc.causes import CauseKind
from cdc.errors import SinkUnavailable
from cdc.loads.deployment import Deployment

__all__ = ["ReadUnits", "patiently"]

_T = TypeVar("_T")
_LONGEST_SECONDS = 600.0
"""So long may a server be out of reach; throttled it may be for ever."""


def patiently(deployment: Deployment, ask: Callable[[], _T]) -> _T:
    """The answer, asked for again with growing waits.

    Raises:
        SinkUnavailable: it refuses, or it has been out of reach for ten minutes.
    """
    until = deployment.clock() + _LONGEST_SECONDS

    def passes(error: BaseException) -> bool:
        if not isinstance(error, SinkUnavailable) or error.cause.kind is CauseKind.AWS_REFUSED:
            return False
        return error.cause.kind is CauseKind.OVERLOADED or deployment.clock() < until

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(passes),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=20),
        sleep=deployment.sleep,
        reraise=True,
    )(ask)


@dataclass
class ReadUnits:
    """Read units spent: counted, and held to a rate by waiting after what was too much. Several threads share one."""

    deployment: Deployment
    most_a_second: float | None = None
    spent: float = 0.0
    _free_at: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def spend(self, units: float) -> None:
        """Count units that a request has taken, and wait for as long as they take at the rate."""
        with self._lock:
            self.spent += units
            if not self.most_a_second:
                return
            now = self.deployment.clock()
            self._free_at = max(self._free_at, now) + units / self.most_a_second
            wait = self._free_at - now
        if wait > 0:
            self.deployment.sleep(wait)
