"""Patience: requests that are asked again until they pass; throttling slows a verification and never fails it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Protocol, TypeVar

import tenacity

from cdc.causes import CauseKind
from cdc.deadline import Clock
from cdc.errors import SinkUnavailable
from cdc.loads.pace import Pace
from cdc.loads.table import Page

__all__ = ["ReadUnits", "Waits", "patiently"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_TOLD_EACH = 5
_LONGEST_SECONDS = 600.0
"""So long may a server be out of reach; throttled it may be for ever."""


class Waits(Protocol):
    """A clock to wait by: a deployment, or anything that has its clock."""

    @property
    def clock(self) -> Clock:
        """Tells seconds."""
        ...

    @property
    def sleep(self) -> Callable[[float], None]:
        """Waits for seconds."""
        ...


def patiently(deployment: Waits, ask: Callable[[], _T], throttled: Callable[[], object] = lambda: None) -> _T:
    """The answer, asked for again with growing waits.

    Args:
        throttled: is told of each refusal for being too fast.

    Raises:
        SinkUnavailable: it refuses, or it has been out of reach for ten minutes.
    """
    until = deployment.clock() + _LONGEST_SECONDS

    def passes(error: BaseException) -> bool:
        if not isinstance(error, SinkUnavailable) or error.cause.kind is CauseKind.AWS_REFUSED:
            return False
        if error.cause.kind is CauseKind.OVERLOADED:
            throttled()
            return True
        return deployment.clock() < until

    try:
        return ask()  # what is made to ask again is garbage in a cycle, for each of millions of pages
    except SinkUnavailable as error:
        failed = [error]

    def again() -> _T:
        if failed:
            raise failed.pop()
        return ask()

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(passes),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=20),
        sleep=deployment.sleep,
        before_sleep=_say,
        reraise=True,
    )(again)


def _say(state: tenacity.RetryCallState) -> None:
    """Who waits is told why, but not of each of the first quick tries."""
    if state.outcome is not None and state.attempt_number % _TOLD_EACH == 0:
        error = state.outcome.exception()
        text = error.cause.text if isinstance(error, SinkUnavailable) else type(error).__name__
        log.warning("asked for the %dth time: %s", state.attempt_number, text)


class ReadUnits:
    """Read units that a verification spends: counted, and held to a pace. Several threads share one.

    Args:
        most_a_second: read units; None: no limit.
    """

    def __init__(self, deployment: Waits, most_a_second: float | None = None) -> None:
        self.spent = 0.0
        self._deployment = deployment
        self._pace = Pace(most_a_second, clock=deployment.clock, sleep=deployment.sleep)
        self._lock = Lock()

    def reading(self, ask: Callable[[], _T], units_of: Callable[[_T], float]) -> _T:
        """The answer of a read that is asked for patiently, paid by the units that it took.

        Raises:
            SinkUnavailable: the table refuses, or it has been out of reach for ten minutes.
        """
        self._pace.wait()
        answer = patiently(self._deployment, ask, self._pace.throttled)
        units = units_of(answer)
        self._pace.spent(units)
        with self._lock:
            self.spent += units
        return answer

    def page(self, ask: Callable[[], Page]) -> Page:
        """A page of the table; see `reading`."""
        return self.reading(ask, lambda page: page.read_units)
