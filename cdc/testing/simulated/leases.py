"""A lease of the simulated KCL, and what a worker that took it does with its shard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cdc.delivery.shard import Checkpoint, LeaseLost, Payload
from cdc.records.sequence import SequenceNumber
from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Killed
from cdc.testing.simulated.stream import SimulatedShard

__all__ = [
    "Gap",
    "Holding",
    "MakeShard",
    "ShardProcessor",
    "SimulatedLease",
    "SimulatedStop",
    "SimulatedWorker",
    "lease_to_steal",
]


class ShardProcessor(Protocol):
    """A processor of one shard, called one call at a time: `cdc.delivery.shard.ShardConsumer`."""

    def process(self, payloads: Sequence[Payload], checkpoint: Checkpoint, millis_behind: int = 0) -> None:
        """Take a batch."""
        ...

    def lease_lost(self) -> None:
        """Another has the shard."""
        ...

    def shard_ended(self, checkpoint: Checkpoint) -> None:
        """All was delivered: `checkpoint(None)` is wanted."""
        ...

    def shutdown_requested(self, checkpoint: Checkpoint) -> None:
        """The lease is given up after this call."""
        ...


MakeShard = Callable[[str, str, Callable[[], bool]], ShardProcessor]
"""Makes a processor, of the stream's ARN, the shard's id, and `holds_lease`."""


class Gap(Exception):
    """Records were trimmed before they were read. Raised by `SimulatedKcl.step`; the next step reads on behind it."""

    def __init__(self, shard: SimulatedShard, first: int, count: int) -> None:
        super().__init__(f"{count} records of {shard} were trimmed before they were read")
        self.shard = shard
        self.first = first
        """Place of the first lost record among the shard's."""
        self.count = count


class SimulatedWorker:
    """A process: it reads shards whose leases it holds. Dead or frozen, it renews none of them."""

    def __init__(self, worker_id: str, make_shard: MakeShard) -> None:
        self.id = worker_id
        self.make_shard = make_shard
        self.holdings: list[Holding] = []
        self.dead = False
        self.leaving = False
        self.frozen_until = 0.0
        self.silent_since: float | None = None

    def silent_seconds(self, now: float) -> float:
        """Since when its leases are not renewed."""
        return 0.0 if self.silent_since is None else now - self.silent_since


@dataclass(eq=False)
class SimulatedLease:
    """Who reads a shard, and how far it is acknowledged: None is the beginning."""

    shard: SimulatedShard
    owner: str = ""
    checkpoint: int | None = None
    ended: bool = False
    holding: Holding | None = None

    @property
    def finished(self) -> bool:
        """Is everything acknowledged that the shard holds now, or the shard at its end?"""
        records = self.shard.records
        if self.ended or self.shard.closed:
            return self.ended
        return not records or (self.checkpoint is not None and self.shard.after(self.checkpoint) == len(records))

    def expired(self, now: float, failover_seconds: float) -> bool:
        """May anyone take it?"""
        holding = self.holding
        return holding is None or holding.lost_at is not None or holding.silent(now, failover_seconds)


class Holding:
    """One worker's reading of one shard, from the checkpoint on."""

    def __init__(self, worker: SimulatedWorker, lease: SimulatedLease, clock: SimulatedClock, lag: float) -> None:
        self.worker = worker
        self.lease = lease
        self.busy = False
        self.leaving = False
        self.idle_turns = 0
        self.lost_at: float | None = None
        self.place = 0 if lease.checkpoint is None else lease.shard.after(lease.checkpoint)
        self.delivered: int | None = None
        self._at_end = False
        self._clock = clock
        self._lag = lag
        self.processor = worker.make_shard(lease.shard.stream_arn, lease.shard.id, self.holds_lease)

    @property
    def held(self) -> bool:
        """Is the lease really this one's?"""
        return not self.worker.dead and self.lost_at is None

    @property
    def unacknowledged(self) -> bool:
        """Was anything delivered that is not checkpointed?"""
        return self.delivered is not None and self.delivered != self.lease.checkpoint

    @property
    def behind(self) -> bool:
        """Are there records to deliver?"""
        return self.place < len(self.lease.shard.records)

    @property
    def at_end(self) -> bool:
        """Is everything delivered that there will ever be?"""
        return self.lease.shard.closed and not self.behind

    def silent(self, now: float, failover_seconds: float) -> bool:
        """Has the worker not renewed it for too long?"""
        return self.worker.silent_seconds(now) >= failover_seconds

    def lose(self) -> None:
        """The lease is another's from now on."""
        if self.lost_at is None:
            self.lost_at = self._clock()

    def holds_lease(self) -> bool:
        """Does the worker believe that it holds the lease? It learns of a loss `lag` seconds late."""
        if self.worker.dead:
            return False
        return self.lost_at is None or self._clock() < self.lost_at + self._lag

    def gap(self) -> Gap | None:
        """The gap that can't be read any more, once."""
        if self.place >= (trimmed := self.lease.shard.trimmed):
            return None
        gap = Gap(self.lease.shard, self.place, trimmed - self.place)
        self.place = trimmed
        return gap

    def deliver(self, count: int) -> None:
        """Hand over the next records: they are not read again by this holding, whatever becomes of them."""
        records = self.lease.shard.records[self.place : self.place + count]
        self.place += len(records)
        if records:
            self.delivered = records[-1].number
        behind = round((self._clock() - records[-1].written) * 1000) if records else 0
        payloads = [Payload(record.payload, record.sequence) for record in records]
        self.processor.process(payloads, self.checkpoint, behind if self.behind else 0)

    def end(self) -> None:
        """Tell that the shard is at its end."""
        self._at_end = True
        self.processor.shard_ended(self.checkpoint)

    def checkpoint(self, sequence: SequenceNumber | None) -> None:
        """See `cdc.delivery.shard.Checkpoint`. Without a number before the end: up to what was delivered.

        Raises:
            LeaseLost: the lease is another's.
            ValueError: the number was not delivered, or lies before an earlier checkpoint (as the KCL refuses it).
            Killed: the process is dead.
        """
        if self.worker.dead:
            raise Killed
        if not self.held:
            raise LeaseLost
        if sequence is None and self._at_end:
            self.lease.ended = True
            return
        number = self.delivered if sequence is None else sequence.value
        if number is None or self.delivered is None or number > self.delivered:
            raise ValueError(f"{number} was not delivered")
        if self.lease.checkpoint is not None and number < self.lease.checkpoint:
            raise ValueError(f"{number} lies before the checkpoint")
        self.lease.checkpoint = number


def lease_to_steal(workers: Sequence[SimulatedWorker], now: float) -> tuple[SimulatedWorker, SimulatedLease] | None:
    """A worker that holds at least two leases fewer than another, and the lease that it takes from that one."""
    awake = [worker for worker in workers if worker.frozen_until <= now and not worker.leaving]
    thief = min(awake, key=lambda worker: len(worker.holdings), default=None)
    rich = max(workers, key=lambda worker: len(worker.holdings), default=None)
    if thief is None or rich is None or len(rich.holdings) < len(thief.holdings) + 2:
        return None
    known = {id(holding.lease) for holding in thief.holdings}
    for holding in rich.holdings:
        if holding.held and id(holding.lease) not in known:
            return thief, holding.lease
    return None


class SimulatedStop(threading.Event):
    """An event whose `wait` lets simulated time pass: for `cdc.delivery.shard.Running.stop`."""

    def __init__(self, pause: Callable[[float], object]) -> None:
        super().__init__()
        self._pause = pause

    def wait(self, timeout: float | None = None) -> bool:
        """Let `timeout` seconds pass by `pause`, unless it is set."""
        if not self.is_set():
            self._pause(timeout or 0.0)
        return self.is_set()
