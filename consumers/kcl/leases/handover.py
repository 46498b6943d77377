"""Leases go to workers that follow their streams: what the KCL's leader can't do while workers follow different tables.

The KCL's leader gives leases to any worker, and one that does not follow a table does not see the table's leases
(`followed_leases`). So each worker looks at the whole lease table every few seconds. It gives away what it was given
and does not follow, and it takes what it follows and nobody reads. Every write that moves a lease is conditional on its
counter, as the KCL's are: of two workers that write, one fails.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from cdc.deadline import Clock
from consumers.kcl.leases.followed_leases import Follows, stream_of_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["FOLLOWER", "Handover", "StoredLease", "Times", "stored_leases"]

log = logging.getLogger(__name__)

FOLLOWER = "cdcFollower"
"""The attribute of a lease that names a worker which follows its stream. The KCL leaves it as it is."""
_ENDED = "SHARD_END"


@dataclass(frozen=True, slots=True)
class StoredLease:
    """A lease as the table has it."""

    key: str
    stream: str
    """The KCL's name of the stream."""
    owner: str | None
    counter: int
    checkpoint: str
    leaving: str | None
    """The worker that still holds the lease and is about to hand it to `owner`."""
    follower: str | None

    @property
    def shard(self) -> str:
        """The shard's id."""
        return self.key.rpartition(":")[2]

    @property
    def ended(self) -> bool:
        """Is the shard read to its end?"""
        return self.checkpoint == _ENDED


def stored_leases(client: DynamoDBClient, table: str) -> Iterator[StoredLease]:
    """Every lease of the lease table, those of all streams."""
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            strings = {name: str(value["S"]) for name, value in item.items() if "S" in value}
            stream = stream_of_item(strings)
            if stream is not None:
                yield StoredLease(
                    strings["leaseKey"],
                    stream,
                    strings.get("leaseOwner"),
                    int(item.get("leaseCounter", {}).get("N", "0")),
                    strings.get("checkpoint", ""),
                    strings.get("checkpointOwner"),
                    strings.get(FOLLOWER),
                )


@dataclass(frozen=True, slots=True)
class Times:
    """How often to look, and for how long the KCL's leader has the first say."""

    look_seconds: float
    unowned_seconds: float
    """How long a lease has no owner before this worker takes it: longer than the leader needs."""
    silent_seconds: float
    """How long an owner does not renew before this worker takes the lease: longer than another leader needs."""


@dataclass
class Handover:
    """Called by one thread."""

    client: DynamoDBClient
    table: str
    worker: str
    follows: Follows
    times: Times
    most_leases: int = 2**31
    """How many leases this worker may have."""
    clock: Clock = time.monotonic
    unread: int = 0
    """How many followed leases the last look found that no worker reads, for longer than a fail-over takes."""
    _seen: dict[str, tuple[str | None, int, float]] = field(default_factory=dict)
    """The owner and the counter of each lease, and since when they are so."""
    _said: set[str] = field(default_factory=set)

    def start(self, stop: Event) -> None:
        """Look every few seconds, on a daemon thread, until `stop`."""

        def run() -> None:
            while not stop.is_set():
                try:
                    self.look()
                except Exception as error:  # noqa: BLE001  (Java's too: the next look may succeed)
                    log.warning("the lease table can't be looked at: %s", type(error).__name__)
                stop.wait(self.times.look_seconds)

        Thread(target=run, name="handover", daemon=True).start()

    def look(self) -> None:
        """Look once, and do what is to be done."""
        leases = [lease for lease in stored_leases(self.client, self.table) if not lease.ended]
        now = self.clock()
        seen = self._seen
        self._seen = {}
        left: list[StoredLease] = []
        for lease in leases:
            owner, counter, since = seen.get(lease.key, (None, -1, now))
            since = since if (owner, counter) == (lease.owner, lease.counter) else now
            self._seen[lease.key] = (lease.owner, lease.counter, since)
            if not self.follows(lease.stream):
                if lease.owner == self.worker and lease.leaving is None:
                    self._give_away(lease, leases)
                elif lease.follower == self.worker:  # not any more: nobody shall hand it here
                    self._write(lease, {FOLLOWER: None}, counts=False)
            elif self._is_left(lease, now - since):
                left.append(lease)
            elif lease.follower is None or (lease.owner == self.worker != lease.follower):
                self._write(lease, {FOLLOWER: self.worker}, counts=False)
        self.unread = len(left)
        # a part at each look, so that several workers share what is left
        room = self.most_leases - sum(lease.owner == self.worker for lease in leases)
        for lease in random.sample(left, max(0, min(room, (len(left) + 3) // 4))):
            self._take(lease)

    def _is_left(self, lease: StoredLease, unchanged_seconds: float) -> bool:
        patience = self.times.unowned_seconds if lease.owner is None else self.times.silent_seconds
        return lease.owner != self.worker and unchanged_seconds >= patience

    def _give_away(self, lease: StoredLease, leases: Sequence[StoredLease]) -> None:
        """To a worker that follows the stream, as far as its leases say; else to nobody."""
        followers = [lease.follower, *(other.follower for other in leases if other.stream == lease.stream)]
        follower = next((worker for worker in followers if worker not in (None, self.worker)), None)
        if follower is None:
            given = self._write(lease, {"leaseOwner": None, "checkpointOwner": None, FOLLOWER: None})
        else:
            given = self._write(lease, {"leaseOwner": follower})
        if given and lease.stream not in self._said:
            self._said.add(lease.stream)
            log.info(
                "given %s of %s, which this worker does not follow: %s; its position stays as it was",
                lease.shard,
                lease.stream,
                f"handed to {follower}" if follower else "left to workers that follow it",
            )

    def _take(self, lease: StoredLease) -> None:
        if self._write(lease, {"leaseOwner": self.worker, "checkpointOwner": None, FOLLOWER: self.worker}):
            log.info("taking %s of %s, which nobody reads", lease.shard, lease.stream)

    def _write(self, lease: StoredLease, values: dict[str, str | None], *, counts: bool = True) -> bool:
        """Set strings of the lease, or remove them, if it is as it was seen; False if it is not. `counts`: the counter
        tells the worker that holds the lease."""
        sets = [f"{name} = :{name}" for name, value in values.items() if value is not None]
        removes = [name for name, value in values.items() if value is None]
        if counts:
            sets.append("leaseCounter = :next")
        wanted = ["attribute_not_exists(leaseOwner)" if lease.owner is None else "leaseOwner = :was"]
        asked: dict[str, Any] = {f":{name}": {"S": value} for name, value in values.items() if value is not None}
        if lease.owner is not None:
            asked[":was"] = {"S": lease.owner}
        if counts:  # a mark may be set while the owner renews
            wanted.append("leaseCounter = :counter")
            asked |= {":counter": {"N": str(lease.counter)}, ":next": {"N": str(lease.counter + 1)}}
        expression = (f"SET {', '.join(sets)}" if sets else "") + (f" REMOVE {', '.join(removes)}" if removes else "")
        request: dict[str, Any] = {"ExpressionAttributeValues": asked} if asked else {}
        try:
            self.client.update_item(
                TableName=self.table,
                Key={"leaseKey": {"S": lease.key}},
                UpdateExpression=expression.strip(),
                ConditionExpression=" AND ".join(wanted),
                **request,
            )
        except self.client.exceptions.ConditionalCheckFailedException:
            return False
        return True
