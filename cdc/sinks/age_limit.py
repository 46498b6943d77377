"""AgeLimit(sink): what is deferred for too long is rejected before the stream forgets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cdc.change import Change
from cdc.deadline import Clock, Deadline
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.sinks.around import Around

__all__ = ["DEFERRED_TOO_LONG", "AgeLimit"]

DEFERRED_TOO_LONG = "deferred_too_long"


@dataclass(frozen=True)
class AgeLimit(Around):
    """A sink that rejects a change once it is older than `max_age_seconds` and has been tried for `tried_seconds`.

    Both, because a consumer that catches up after an outage meets old records first, and a passing fault must not
    spill them. A stream keeps its records for 24 hours (Amazon DynamoDB Developer Guide, "Change data capture for
    DynamoDB Streams").
    """

    max_age_seconds: float = 18 * 3600.0
    tried_seconds: float = 600.0
    clock: Clock = time.monotonic
    now: Callable[[], float] = time.time
    _first_tried: dict[str, float] = field(default_factory=dict, repr=False, compare=False)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's, but for what has been deferred for too long."""
        return [
            self._limited(change, outcome)
            for change, outcome in zip(changes, self.sink.write(changes, deadline), strict=True)
        ]

    def _limited(self, change: Change, outcome: Outcome) -> Outcome:
        identity = str(change.identity) if self._first_tried or isinstance(outcome, Deferred) else ""
        if not isinstance(outcome, Deferred):
            self._first_tried.pop(identity, None)
            return outcome
        if not outcome.tried:
            return outcome
        tried = self.clock() - self._first_tried.setdefault(identity, self.clock())
        if tried < self.tried_seconds or self.now() - change.created_micros / 1e6 < self.max_age_seconds:
            return outcome
        del self._first_tried[identity]
        return Rejected(
            f"{DEFERRED_TOO_LONG}: {outcome.cause}", f"tried for {tried:.0f} s, and the stream would soon forget it"
        )

    def close(self) -> None:
        """As the sink's; whoever has the shard next tries anew."""
        self._first_tried.clear()
        self.sink.close()
