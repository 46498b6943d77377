"""State that the shards of a process share: whether to stop, the first failure, the stop's budget, each status."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cdc.deadline import Clock
from cdc.duration import spoken

if TYPE_CHECKING:
    from cdc.verification.audit import AuditFigure

__all__ = ["RETENTION_SECONDS", "Running", "ShardStatus"]

RETENTION_SECONDS = 24 * 3600.0
"""How long DynamoDB Streams keep a record (Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB
Streams")."""


@dataclass(slots=True)
class ShardStatus:
    """How a shard is that this process reads: for health and metrics. Times are of `Running.clock`, in seconds.

    Written by the shard's thread alone; a reader may see a value that is about to change.
    """

    stream: str
    """The stream's ARN."""
    shard: str
    table: str
    """The table, or the Kinesis stream's name: that may carry several."""
    since: float
    """When this process began to read it."""
    held_since: float | None = None
    """Since when its next record, or its flush, waits to be tried again; None: nothing waits."""
    held_on: str = ""
    """Why it waits, without anything of the item."""
    held_reasons: int = 0
    """How many times it had to wait, ever."""
    millis_behind: int = 0
    """How old the newest record was that was read last, at the stream's latest: 0 at its tip."""
    read_at: float | None = None
    """When a batch came last, an empty one too."""
    unflushed_since: float | None = None
    unflushed_bytes: int = 0
    """The bytes that would be read again after a crash now."""
    checkpointed_at: float | None = None
    """When it was checkpointed last by this process."""
    flush_seconds: float = 0.0
    """How long the last flush took."""

    def age_seconds(self, now: float) -> float:
        """How old its oldest unread change may be: as far behind as the last batch said, and the time since, for a
        shard that is held or can't be read goes on ageing."""
        return self.millis_behind / 1000 + now - (self.since if self.read_at is None else self.read_at)

    def held_seconds(self, now: float) -> float:
        """How long its next record, or its flush, has waited."""
        return 0.0 if self.held_since is None else now - self.held_since

    def hold(self, cause: str, now: float) -> None:
        """It has to wait."""
        if self.held_since is None:
            self.held_since = now
        self.held_on = cause
        self.held_reasons += 1

    def go_on(self) -> None:
        """It waits no more."""
        self.held_since = None
        self.held_on = ""


@dataclass(slots=True)
class Running:
    """State that all shards of a process share."""

    stop: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    clock: Clock = time.monotonic
    now: Clock = time.time
    """The time of day, in seconds since 1970."""
    shards: dict[tuple[str, str], ShardStatus] = field(default_factory=dict)
    """The status of each shard that is read now, by stream's ARN and shard's id. Copy it before looping over it."""
    repairing: dict[str, float] = field(default_factory=dict)
    """The tables that are repaired after a gap, and since when."""
    audits: dict[str, AuditFigure] = field(default_factory=dict)
    """The figure of each table that is audited, as it was last. Copy it before looping over it."""
    stop_asked_at: float | None = None
    retention_seconds: float = RETENTION_SECONDS
    """How long the streams keep a record."""
    alive: Callable[[], bool] | None = None
    """Does the scheduler run? None before it was started."""
    unclaimed: Callable[[], int | None] = lambda: None
    """How many shards that are not at their end no worker has; it asks the lease table. None: not known."""
    unread: Callable[[], int] = lambda: 0
    """How many shards of the followed streams no worker reads, for longer than a fail-over takes; as seen last."""

    def outlook(self, shards: Sequence[ShardStatus]) -> str:
        """How far behind the slowest of these shards is, and for how long nothing of them is lost."""
        age = max(shard.age_seconds(self.clock()) for shard in shards)
        left = self.retention_seconds - age
        loss = f"nothing is lost for {spoken(left)}" if left > 0 else "the stream has begun to lose what was not read"
        return f"{spoken(age)} behind; {loss}"

    def time_of_day(self, seconds_ago: float) -> str:
        """A moment of the past, as a log line says it."""
        return f"{datetime.fromtimestamp(self.now() - seconds_ago, UTC):%Y-%m-%dT%H:%M:%SZ}"

    def pause(self, seconds: float) -> None:
        """Wait; a stop that is asked meanwhile ends it, one that was asked before does not: that is for a flush."""
        if self.stop.is_set():
            time.sleep(seconds)
        else:
            self.stop.wait(seconds)

    def ask_stop(self) -> None:
        """Ask everything to stop; from the first time on the budget of the stop runs."""
        if self.stop_asked_at is None:
            self.stop_asked_at = self.clock()
        self.stop.set()

    def stopping_seconds(self) -> float:
        """How long ago a stop was asked; 0 if none was."""
        return 0.0 if self.stop_asked_at is None else self.clock() - self.stop_asked_at

    def fail(self, failure: BaseException) -> None:
        """Note the first failure and ask everything to stop."""
        if self.failure is None:
            self.failure = failure
        self.ask_stop()
