"""AgeLimit(sink): what is deferred for too long is rejected before the stream forgets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cdc.causes import CauseKind
from cdc.deadline import Clock, Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Superseded
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["DEFERRED_TOO_LONG", "AgeLimit"]

DEFERRED_TOO_LONG = CauseKind.DEFERRED_TOO_LONG.value


@dataclass(slots=True)
class _Failing:
    """One cause that changes are deferred for, and those that wait for its end."""

    since: float
    seen: float
    waiting: set[str] = field(default_factory=set)


class AgeLimit(SinkWrapper):
    """Rejects a change older than `max_age_seconds` when the cause that defers it has lasted for `tried_seconds`.

    Causes are compared by kind and code, not by their texts: a text may differ at each attempt.

    The cause, not the change: in a long outage every old change would wait for as long, and the stream would forget the
    others meanwhile. And not at once: a consumer that catches up after an outage meets old records first, and a passing
    fault must not spill them; a cause has passed as soon as one of the changes that waited for it is settled. A stream
    keeps its records for 24 hours (Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams").
    """

    def __init__(
        self,
        sink: Sink,
        max_age_seconds: float = 18 * 3600.0,
        tried_seconds: float = 600.0,
        clock: Clock = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sink)
        self._max_age_seconds = max_age_seconds
        self._tried_seconds = tried_seconds
        self._clock = clock
        self._now = now
        self._causes: dict[tuple[CauseKind, str], _Failing] = {}

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write; reject what has been deferred for too long."""
        outcomes = self.sink.write(changes, deadline)
        if not self._causes and not any(isinstance(outcome, Deferred) for outcome in outcomes):
            return outcomes
        identities = [str(change.identity) for change in changes]
        self._look_for_the_end({one for one, outcome in zip(identities, outcomes, strict=True) if _is_done(outcome)})
        return [
            self._limited(change, identity, outcome) if isinstance(outcome, Deferred) and outcome.tried else outcome
            for change, identity, outcome in zip(changes, identities, outcomes, strict=True)
        ]

    def _look_for_the_end(self, done: set[str]) -> None:
        long_ago = self._clock() - 2 * self._tried_seconds
        for cause, failing in list(self._causes.items()):
            if failing.seen < long_ago or not failing.waiting.isdisjoint(done):
                del self._causes[cause]

    def _limited(self, change: Change, identity: str, outcome: Deferred) -> Outcome:
        now = self._clock()
        failing = self._causes.setdefault(outcome.cause.key, _Failing(now, now))
        failing.seen = now
        lasted = now - failing.since
        made = change.created_micros
        age = lasted if made is None else self._now() - made / 1e6  # a change that does not say is that old at least
        if lasted < self._tried_seconds or age < self._max_age_seconds:
            failing.waiting.add(identity)
            return outcome
        failing.waiting.discard(identity)
        return Rejected(
            outcome.cause.under(CauseKind.DEFERRED_TOO_LONG, DEFERRED_TOO_LONG),
            f"so it has been for {lasted:.0f} s, and the stream would soon forget the change",
        )

    def close(self) -> None:
        """Close the sink and forget the causes: the next owner of the shard starts again."""
        self._causes.clear()
        self.sink.close()


def _is_done(outcome: Outcome) -> bool:
    return isinstance(outcome, Applied | Superseded)
