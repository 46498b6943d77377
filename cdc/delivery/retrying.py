"""Retrying(sink): what is deferred is tried again, by tenacity, until the deadline."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence

import tenacity

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, Observer, Retried
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["Retrying", "until_deadline"]

log = logging.getLogger(__name__)

_WAIT_INITIAL_SECONDS = 0.1


class Retrying(SinkWrapper):
    """Writes again what a sink defers, in the order given, with exponential waits and full jitter.

    It stops before a wait that would not end before the deadline, and as soon as the work is not wanted any more.
    """

    def __init__(
        self,
        sink: Sink,
        wait_initial_seconds: float = _WAIT_INITIAL_SECONDS,
        wait_max_seconds: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
        observer: Observer = UNOBSERVED,
    ) -> None:
        super().__init__(sink)
        self._wait_initial_seconds = wait_initial_seconds
        self._wait_max_seconds = wait_max_seconds
        self._sleep = sleep
        self._observer = observer

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """One outcome a change: Deferred only for what the deadline cut off."""
        outcomes: list[Outcome] = []

        def attempt() -> float | None:
            if not outcomes:
                outcomes.extend(self.sink.write(changes, deadline))
                return _least_wait(outcomes)
            pending = [position for position, outcome in enumerate(outcomes) if isinstance(outcome, Deferred)]
            for position, outcome in zip(
                pending, self.sink.write([changes[position] for position in pending], deadline), strict=True
            ):
                outcomes[position] = outcome
            return _least_wait(outcomes)

        retrying = self._retrying(
            deadline, lambda: _deferred(outcomes), tenacity.retry_if_result(lambda wait: wait is not None)
        )
        retrying(attempt)
        return outcomes

    def flush(self, deadline: Deadline) -> None:
        """Flush; try again until the deadline."""
        self._retrying(deadline, list, tenacity.retry_if_exception_type(SinkUnavailable))(self.sink.flush, deadline)

    def _retrying(
        self, deadline: Deadline, deferred: Callable[[], Sequence[Deferred]], retry: tenacity.retry_base
    ) -> tenacity.Retrying:
        def before_sleep(state: tenacity.RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            left = deferred()
            causes = [fault.cause] if isinstance(fault, SinkUnavailable) else [one.cause for one in left if one.tried]
            for reason in {cause.label for cause in causes}:
                self._observer(Retried(self.name, reason))
            log.warning(
                "%s: attempt %d: %s; again in %.2f s",
                self.name,
                state.attempt_number,
                fault or _reasons(left),
                state.upcoming_sleep,
            )

        return until_deadline(
            deadline,
            retry,
            wait_initial_seconds=self._wait_initial_seconds,
            wait_max_seconds=self._wait_max_seconds,
            sleep=self._sleep,
            before_sleep=before_sleep,
        )


def until_deadline(
    deadline: Deadline,
    retry: tenacity.retry_base,
    *,
    wait_max_seconds: float,
    wait_initial_seconds: float = _WAIT_INITIAL_SECONDS,
    sleep: Callable[[float], None],
    before_sleep: Callable[[tenacity.RetryCallState], None] | None = None,
) -> tenacity.Retrying:
    """Tries again, with growing, random waits, or those that the sink asks for, until the next would end after the
    deadline. Then the last result is given, or the last error raised."""
    jitter = tenacity.wait_random_exponential(multiplier=wait_initial_seconds, max=wait_max_seconds)

    def wait(state: tenacity.RetryCallState) -> float:
        return max(jitter(state), _asked_wait(state))

    def stop(state: tenacity.RetryCallState) -> bool:
        return deadline.remaining_seconds <= state.upcoming_sleep

    def last(state: tenacity.RetryCallState) -> object:
        return state.outcome.result() if state.outcome else None

    return tenacity.Retrying(
        retry=retry, wait=wait, stop=stop, sleep=sleep, before_sleep=before_sleep, retry_error_callback=last
    )


def _least_wait(outcomes: Sequence[Outcome]) -> float | None:
    return min((outcome.wait_seconds for outcome in outcomes if isinstance(outcome, Deferred)), default=None)


def _asked_wait(state: tenacity.RetryCallState) -> float:
    """The wait that the sink itself asked for: by its outcomes, or by the error it raised."""
    if state.outcome is None:
        return 0.0
    fault = state.outcome.exception()
    if fault is not None:
        return fault.wait_seconds if isinstance(fault, SinkUnavailable) else 0.0
    return float(state.outcome.result() or 0.0)


def _deferred(outcomes: Sequence[Outcome]) -> Sequence[Deferred]:
    return [outcome for outcome in outcomes if isinstance(outcome, Deferred)]


def _reasons(deferred: Sequence[Deferred]) -> str:
    counts = Counter(outcome.cause.text for outcome in deferred)
    return ", ".join(f"{count} deferred: {cause}" for cause, count in counts.most_common(3))
