"""The KCL, simulated: leases, workers that take, lose and hand over shards, zombies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Killed
from cdc.testing.simulated.leases import Gap, Holding, SimulatedLease, SimulatedWorker, lease_to_steal
from cdc.testing.simulated.stream import Sharded

__all__ = ["SimulatedKcl"]

_IDLE_TURNS = 30  # without a checkpoint, until a shard is left alone: its processor has given up
_SLICES = 4  # of a wait in the middle of a call: what else happens falls in between
_DEPTH = 6  # of waits within waits
_SHORTEST_WAIT_SECONDS = 0.001  # a loop that waits for nothing must not stand still


class SimulatedKcl:
    """Runs workers over the shards of a stream, or of all streams of a table, one call at a time.

    As the KCL does: one lease a shard, parents before children; a lease that is not renewed for `failover_seconds`
    goes to another worker, which starts at the checkpoint; a lost lease is reported only at the worker's next turn,
    now and then after one more batch, and `holds_lease` knows of it `lag_seconds` late; an exception that escapes
    `process` skips the batch (`skipped_batches`); records trimmed unread are a `Gap`.

    Calls within a call: `freeze_now`, `crash_now` and `pause_now` are for what a processor of this KCL calls (sinks,
    sleeps), so that others have their turns in the middle of a batch. `meanwhile` is what happens then, a turn of the
    others unless it is set to more than that; simulations set it to a step of everything.
    """

    def __init__(
        self,
        source: Sharded,
        workers: Sequence[SimulatedWorker],
        clock: SimulatedClock,
        chance: random.Random,
        *,
        failover_seconds: float = 10.0,
        lag_seconds: float = 0.0,
        max_batch: int = 100,
        idle_seconds: float = 10.0,
        steal: float = 0.0,
    ) -> None:
        self.leases: dict[tuple[str, str], SimulatedLease] = {}
        self.workers: list[SimulatedWorker] = list(workers)
        self.skipped_batches = 0
        self.escaped: list[Exception] = []
        self.gaps: list[Gap] = []
        self.meanwhile: Callable[[], object] = self._others
        self._source = source
        self._clock = clock
        self._chance = chance
        self._failover = failover_seconds
        self._lag = lag_seconds
        self._max_batch = max_batch
        self._idle = idle_seconds
        self._steal = steal
        self._running: list[Holding] = []  # in a call, innermost last
        self._unseen_gap: Gap | None = None

    @property
    def finished(self) -> bool:
        """Is everything that the shards hold now delivered and acknowledged?"""
        self._sync()
        return all(lease.finished for lease in self.leases.values())

    def start(self, worker: SimulatedWorker) -> None:
        """One more worker; under the id of a dead one it gets that one's leases at once."""
        self.workers.append(worker)

    def crash(self, worker_id: str) -> None:
        """The process is gone: nothing is flushed, nobody told; its leases last until fail-over."""
        worker = self._worker(worker_id)
        worker.dead = True
        worker.holdings.clear()
        self.workers.remove(worker)
        if worker.silent_since is None:
            worker.silent_since = self._clock()

    def freeze(self, worker_id: str, seconds: float) -> None:
        """The process stands still from now on, and wakes as if nothing had been."""
        worker = self._worker(worker_id)
        if worker.silent_since is None:
            worker.silent_since = self._clock()
        worker.frozen_until = max(worker.frozen_until, self._clock() + seconds)

    def hand_over(self, worker_id: str) -> None:
        """The process is asked to stop: its next turns give each lease up, after `shutdown_requested`."""
        self._worker(worker_id).leaving = True

    def hand_over_lease(self, lease: SimulatedLease) -> None:
        """Its worker gives one lease up at its next turn, after `shutdown_requested`: whoever is next takes it."""
        if lease.holding is not None:
            lease.holding.leaving = True

    def steal(self, lease: SimulatedLease, worker: SimulatedWorker) -> None:
        """`worker` takes a lease from whoever holds it, to balance the load."""
        self._take(worker, lease)

    def freeze_now(self, seconds: float) -> None:
        """The process that is in a call stands still in the middle of it while others go on; then it goes on too."""
        if not self._running:
            return
        worker = self._running[-1].worker
        if worker.dead:
            raise Killed
        self.freeze(worker.id, seconds)
        self._wait(seconds)
        worker.frozen_until = self._clock()
        self._wake()

    def pause_now(self, seconds: float) -> None:
        """The call waits; the process renews its leases all the same. Outside of a call, the clock goes on."""
        self._wait(seconds)

    def crash_now(self) -> None:
        """The process that is in a call dies in the middle of it.

        Raises:
            Killed: always, in a call.
        """
        if self._running:
            worker = self._running[-1].worker
            if not worker.dead:
                self.crash(worker.id)
            raise Killed

    def step(self) -> bool:
        """One turn of one worker. If all there is to do is to wait (a frozen worker, a lease of a dead one, a
        processor that flushes by time), the clock goes on to it. False: nothing is left, or nobody to do it.

        Raises:
            Gap: records were trimmed before they were read.
        """
        worked = self._turn() or self._wait_for_something()
        gap, self._unseen_gap = self._unseen_gap, None
        if gap is not None:
            raise gap
        return worked

    def _others(self) -> None:
        self._turn()

    def _turn(self) -> bool:
        self._sync()
        self._wake()
        now = self._clock()
        turns: list[tuple[Callable[[SimulatedWorker, SimulatedLease], None], SimulatedWorker, SimulatedLease]] = []
        free = [lease for lease in self.leases.values() if self._free(lease, now)]
        for worker in self.workers:
            if worker.frozen_until > now:
                continue
            held = {id(holding.lease) for holding in worker.holdings}
            turns += [(self._act, worker, holding.lease) for holding in worker.holdings if self._due(holding)]
            if not worker.leaving:
                turns += [(self._take, worker, lease) for lease in free if id(lease) not in held]
                turns += [
                    (self._take, worker, lease)
                    for lease in self.leases.values()
                    if not lease.ended and lease.owner == worker.id and lease.holding and lease.holding.worker.dead
                ]
            elif not worker.holdings:
                self.workers.remove(worker)
                return True
        if self._steal and self._chance.random() < self._steal and (stolen := lease_to_steal(self.workers, now)):
            turns.append((self._take, *stolen))
        if not turns:
            return False
        act, worker, lease = self._chance.choice(turns)
        act(worker, lease)
        return True

    def _sync(self) -> None:
        for shard in self._source.shards:
            if (key := (shard.stream_arn, shard.id)) not in self.leases:
                self.leases[key] = SimulatedLease(shard)

    def _wake(self) -> None:
        now = self._clock()
        for worker in self.workers:
            if worker.silent_since is None or worker.frozen_until > now:
                continue
            for holding in worker.holdings:
                if holding.silent(now, self._failover) or holding.lost_at is not None:
                    holding.lost_at = now  # it can't have known before
            worker.silent_since = None

    def _free(self, lease: SimulatedLease, now: float) -> bool:
        return (
            not lease.ended
            and lease.expired(now, self._failover)
            and all(self.leases[parent.stream_arn, parent.id].ended for parent in lease.shard.parents)
        )

    def _due(self, holding: Holding) -> bool:
        if holding.busy:
            return False
        if not holding.held or holding.worker.leaving or holding.leaving or holding.behind:
            return True
        return holding.at_end and holding.idle_turns < _IDLE_TURNS

    def _act(self, worker: SimulatedWorker, lease: SimulatedLease) -> None:
        holding = next(holding for holding in worker.holdings if holding.lease is lease)
        if not holding.held:
            if holding.behind and self._chance.random() < 0.5:
                self._deliver(holding)  # it was fetched before the loss was seen
            else:
                worker.holdings.remove(holding)
                self._call(holding, holding.processor.lease_lost)
        elif worker.leaving or holding.leaving:
            self._give_up(worker, holding)
        elif holding.behind:
            self._deliver(holding)
        else:
            holding.idle_turns += 1
            self._call(holding, holding.end)
            if lease.ended and holding in worker.holdings:
                worker.holdings.remove(holding)
                lease.holding, lease.owner = None, ""

    def _give_up(self, worker: SimulatedWorker, holding: Holding) -> None:
        self._call(holding, lambda: holding.processor.shutdown_requested(holding.checkpoint))
        if holding not in worker.holdings:
            return
        worker.holdings.remove(holding)
        if holding.held:
            holding.lease.holding, holding.lease.owner = None, ""
            holding.lose()
        self._call(holding, holding.processor.lease_lost)

    def _deliver(self, holding: Holding) -> None:
        gap = holding.gap()
        if gap is not None and holding.held:
            self.gaps.append(gap)
            self._unseen_gap = self._unseen_gap or gap
            return
        holding.idle_turns = 0
        count = self._chance.randint(1, self._max_batch)
        if not self._call(holding, lambda: holding.deliver(count)):
            self.skipped_batches += 1  # measured: "Skipping over the following data records"

    def _call(self, holding: Holding, act: Callable[[], None]) -> bool:
        """Nothing that a processor does ends the KCL: did it return?"""
        holding.busy = True
        self._running.append(holding)
        try:
            act()
        except Killed:
            if not holding.worker.dead:
                self.crash(holding.worker.id)
        except Exception as error:  # noqa: BLE001  (the KCL logs it and goes on)
            self.escaped.append(error)
            return False
        finally:
            self._running.pop()
            holding.busy = False
        return True

    def _take(self, worker: SimulatedWorker, lease: SimulatedLease) -> None:
        if lease.holding is not None:
            lease.holding.lose()
        lease.owner = worker.id
        lease.holding = Holding(worker, lease, self._clock, self._lag)
        worker.holdings.append(lease.holding)

    def _wait(self, seconds: float) -> None:
        """Let time pass in the middle of a call, with the turns of others in between."""
        if not self._running or len(self._running) > _DEPTH:
            self._clock.sleep(max(seconds, _SHORTEST_WAIT_SECONDS))
            return
        holding = self._running[-1]
        until = self._clock() + max(seconds, _SHORTEST_WAIT_SECONDS)
        for _ in range(_SLICES):
            self._clock.sleep(min(max(seconds, _SHORTEST_WAIT_SECONDS) / _SLICES, until - self._clock()))
            self.meanwhile()
        self._clock.sleep(until - self._clock())
        if holding.worker.dead:
            raise Killed

    def _wait_for_something(self) -> bool:
        """Nothing can be done now: go on to when something can."""
        now = self._clock()
        times = [worker.frozen_until for worker in self.workers if worker.frozen_until > now]
        times += [
            lease.holding.worker.silent_since + self._failover + _SHORTEST_WAIT_SECONDS
            for lease in self.leases.values()
            if self.workers and lease.holding is not None and lease.holding.worker.silent_since is not None
        ]
        open_batches = [
            holding
            for worker in self.workers
            for holding in worker.holdings
            if worker.frozen_until <= now and not holding.busy and self._waits_for_time(holding)
        ]
        if open_batches and min(times, default=now + self._idle) >= now + self._idle:
            self._clock.sleep(self._idle)
            for holding in open_batches:
                holding.idle_turns += 1
                self._call(holding, partial(holding.deliver, 0))
            return True
        times = [moment for moment in times if moment > now]
        if not times:
            return False
        self._clock.sleep(max(min(times) - now, _SHORTEST_WAIT_SECONDS))
        return True

    def _waits_for_time(self, holding: Holding) -> bool:
        return holding.held and not holding.behind and holding.unacknowledged and holding.idle_turns < _IDLE_TURNS

    def _worker(self, worker_id: str) -> SimulatedWorker:
        """
        Raises:
            LookupError: none of this id is alive.
        """
        for worker in self.workers:
            if worker.id == worker_id:
                return worker
        raise LookupError(f"no worker {worker_id} is alive")
