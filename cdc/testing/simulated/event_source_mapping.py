"""Lambda's event source mapping, simulated: who is invoked with what, and what becomes of the answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults, Killed
from cdc.testing.simulated.batches import Batches, BatchRules, Lane, Source
from cdc.testing.simulated.invocation import SimulatedContext, lowest_failed
from cdc.testing.simulated.stream import ShardRecord

__all__ = ["SimulatedEventSourceMapping"]

Handler = Callable[[dict[str, Any], SimulatedContext], Any]


class _InvocationFailed(Exception):
    """Nothing of the batch is done."""


class SimulatedEventSourceMapping:
    """Invokes a handler with the batches of a stream, or of all streams of a table, as Lambda does.

    Per shard and in order; parents before children; with `parallelization_factor` several batches of a shard side
    by side, the changes of one item in one of them. An invocation that raises, runs out of time (by the clock) or
    answers badly is repeated, halved first if `bisect` (that does not count as an attempt). A failed sequence
    number: everything from it is delivered again. After `max_retries`, or when records are older than
    `max_record_age_seconds` (-1: no limit, for both), a record with the payload goes to `on_failure`, in the shape
    of an S3 destination's object, and the shard goes on. Records that are trimmed before are `lost`.

    `faults` at "lambda": `answer lost` (the invocation ran, its answer is not seen, the batch comes again, cut
    otherwise), `not started` (the invocation fails before the handler runs).
    """

    def __init__(
        self,
        handler: Handler,
        source: Source,
        clock: SimulatedClock,
        chance: random.Random,
        *,
        faults: Faults | None = None,
        batch_size: int = 100,
        parallelization_factor: int = 1,
        max_retries: int = -1,
        max_record_age_seconds: float = -1,
        bisect: bool = False,
        on_failure: list[dict[str, Any]] | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        self.on_failure = [] if on_failure is None else on_failure
        rules = BatchRules(
            batch_size=batch_size,
            parallelization_factor=parallelization_factor,
            max_retries=max_retries,
            max_record_age_seconds=max_record_age_seconds,
            bisect=bisect,
        )
        self._batches = Batches(source, rules, clock, self.on_failure)
        self.counts = self._batches.counts
        """Counts invocations: `invoked`, `succeeded`, `partial`, `failed`, `bisected`, `exhausted`, `abandoned`.
        Of records: `too old`."""
        self.lost = self._batches.lost
        self._handler = handler
        self._clock = clock
        self._chance = chance
        self._faults = faults
        self._timeout = timeout_seconds
        self._running: list[Lane] = []  # of invocations under way, innermost last

    @property
    def drained(self) -> bool:
        """Is everything delivered, or handed to `on_failure`, that the shards hold now?"""
        return self._batches.drained

    def step(self) -> bool:
        """One invocation, of a lane that `chance` picks. Where all of them wait after failures, the clock goes on.

        A handler may call what calls this again: its own lane then has no turn. False: nothing was left to do.
        """
        lanes = self._batches.lanes()
        dropped = [lane for lane in lanes if self._batches.drop_old(lane)]
        lanes = [lane for lane in lanes if lane.left]
        if not lanes:
            return bool(dropped) and not self.drained
        first = min(lane.not_before for lane in lanes)
        self._clock.sleep(first - self._clock())
        ready = max(first, self._clock())
        lane = self._chance.choice([lane for lane in lanes if lane.not_before <= ready])
        self._invoke(lane)
        return True

    def abandon_now(self) -> None:
        """Called by what a handler calls: nobody waits for this invocation any more, though it goes on. Its batch is
        delivered again, cut otherwise, before or after it ends."""
        if self._running and self._running[-1].invocation is not None:
            self.counts["abandoned"] += 1
            self._running[-1].invocation = None
            self._running[-1].batches.clear()

    def _invoke(self, lane: Lane) -> None:
        if not lane.batches:
            lane.batches.append(min(lane.left, self._chance.randint(1, self._batches.rules.batch_size)))
        batch = lane.batch
        self.counts["invoked"] += 1
        lane.invocation = invocation = self.counts["invoked"]
        self._running.append(lane)
        resume, failed = None, False
        try:
            resume = self._answer(lane, batch)
        except _InvocationFailed:
            failed = True
        finally:
            self._running.pop()
        if lane.invocation != invocation:
            return  # it was abandoned
        lane.invocation = None
        if failed:
            self._batches.failed(lane, batch)
        else:
            self._batches.answered(lane, batch, resume)

    def _answer(self, lane: Lane, batch: list[ShardRecord]) -> int | None:
        fault = self._faults.draw("lambda", {"answer lost": 1, "not started": 1}) if self._faults else None
        if fault == "not started":
            raise _InvocationFailed
        context = SimulatedContext(self._clock, self._clock() + self._timeout)
        try:
            answer = self._handler({"Records": [record.record for record in batch]}, context)
        except (Exception, Killed, SystemExit) as error:  # whatever ends an invocation, Lambda goes on
            raise _InvocationFailed from error
        if fault == "answer lost" and lane.invocation is not None:
            lane.batches.clear()  # whoever takes over reads from the checkpoint, and cuts as it likes
        if fault == "answer lost" or self._clock() > context.ends_at:
            raise _InvocationFailed
        try:
            return lowest_failed(answer, [record.sequence for record in batch])
        except ValueError as error:
            raise _InvocationFailed from error
