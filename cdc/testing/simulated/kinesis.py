"""Kinesis Data Streams for DynamoDB in memory: duplicates, disorder, resharding."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any

import orjson

from cdc.records.change import Operation
from cdc.testing.clock import SimulatedClock
from cdc.testing.simulated.stream import ShardRecord, SimulatedShard, SimulatedStream
from cdc.testing.simulated.table import TableWrite

__all__ = ["SimulatedKinesis", "kinesis_record"]

_FIRST_NUMBER = 49601189658422359378836298521827638475320189012309704721  # 56 digits, as real ones have


def kinesis_record(write: TableWrite) -> dict[str, Any]:
    """The record that DynamoDB puts into Kinesis for a change: microseconds, always both images, no number."""
    operation = (
        Operation.INSERT if write.before is None else Operation.REMOVE if write.after is None else Operation.MODIFY
    )
    facts: dict[str, Any] = {
        "ApproximateCreationDateTime": write.micros,
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
        "Keys": write.keys,
        "SizeBytes": 1,
    }
    if write.after is not None:
        facts["NewImage"] = write.after
    if write.before is not None:
        facts["OldImage"] = write.before
    return {
        "awsRegion": "eu-west-1",
        "eventID": f"{write.place:032x}",
        "eventName": operation.value,
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"} if write.expired else None,
        "recordFormat": "application/json",
        "tableName": write.table,
        "dynamodb": facts,
        "eventSource": "aws:dynamodb",
    }


class SimulatedKinesis:
    """A Kinesis stream that tables are joined to by `table.listen(kinesis.deliver)`.

    A change arrives at once, or late (`disorder`, a share of all; then within `late_seconds`), also behind later
    changes of its item; and it may arrive once more (`duplicates`) under another sequence number.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        chance: random.Random,
        *,
        name: str = "shop",
        shards: int = 2,
        disorder: float = 0.1,
        duplicates: float = 0.05,
        late_seconds: float = 5.0,
    ) -> None:
        self.arn = f"arn:aws:kinesis:eu-west-1:111122223333:stream/{name}"
        self.stream = SimulatedStream(
            self.arn,
            clock,
            shards=shards,
            shard_id=lambda place: f"shardId-{place:012d}",
            number=lambda counter: _FIRST_NUMBER + counter,
        )
        self.delivered: list[TableWrite] = []
        """All changes in the order of their arrival, duplicates included."""
        self._clock = clock
        self._chance = chance
        self._disorder = disorder
        self._duplicates = duplicates
        self._late_seconds = late_seconds
        self._under_way: dict[int, TableWrite] = {}
        self._count = 0

    @property
    def shards(self) -> list[SimulatedShard]:
        """All there ever were, each after its parents."""
        return self.stream.shards

    def deliver(self, write: TableWrite) -> None:
        """Take a change of a table, once or twice, now or later."""
        if self._chance.random() < self._disorder:
            self._later(write)
        else:
            self._arrive(write)
        if self._chance.random() < self._duplicates:
            self._later(write)

    def settle(self) -> None:
        """Let all that is under way arrive now."""
        for ticket in list(self._under_way):
            self._arrive_late(ticket)

    def _later(self, write: TableWrite) -> None:
        self._count += 1
        ticket = self._count
        self._under_way[ticket] = write
        delay = self._chance.uniform(0.001, self._late_seconds)
        self._clock.at(self._clock() + delay, lambda: self._arrive_late(ticket))

    def _arrive_late(self, ticket: int) -> None:
        if (write := self._under_way.pop(ticket, None)) is not None:
            self._arrive(write)

    def _arrive(self, write: TableWrite) -> None:
        shard = self.stream.shard_of(write.partition)
        sequence = self.stream.number(shard)
        data = orjson.dumps(kinesis_record(write))
        record = {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": write.digest,
                "sequenceNumber": sequence,
                "data": b64encode(data).decode(),
                "approximateArrivalTimestamp": round(self._clock(), 3),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard.id}:{sequence}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::111122223333:role/consumer",
            "awsRegion": "eu-west-1",
            "eventSourceARN": self.arn,
        }
        shard.records.append(ShardRecord(sequence, write.digest, self._clock(), record, data))
        self.delivered.append(write)
