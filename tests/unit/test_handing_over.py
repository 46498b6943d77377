"""A hand-over's steps: what they wait for, what they refuse, and that a hole in the archive is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.errors import CdcError, ConfigError
from cdc.testing import SimulatedClock
from consumers.handover.handing_over import HandingOver, Step
from consumers.handover.source_mapping import OUR_HANDLER
from consumers.kcl.leases.handover import StoredLease
from tests.loading import LoadedTable

STREAM = "shardId-1"


@dataclass
class Lambda:
    """The API of Lambda, of one mapping."""

    state: str = "Disabled"
    result: str = "OK"
    begins: str = "TRIM_HORIZON"
    handler: str = OUR_HANDLER
    switched: list[bool] = field(default_factory=list)
    there: bool = True

    def get_paginator(self, _operation: str) -> Lambda:
        return self

    def paginate(self, **_options: Any) -> Sequence[Any]:
        return [{"EventSourceMappings": [self._facts()] if self.there else []}]

    def get_event_source_mapping(self, **_options: Any) -> Mapping[str, Any]:
        return self._facts()

    def update_event_source_mapping(self, *, Enabled: bool, **_options: Any) -> Mapping[str, Any]:  # noqa: N803
        self.switched.append(Enabled)
        self.state = "Enabled" if Enabled else "Disabled"
        return self._facts()

    def get_function_configuration(self, **_options: Any) -> Mapping[str, Any]:
        return {"Handler": self.handler}

    def _facts(self) -> dict[str, Any]:
        return {
            "UUID": "1",
            "FunctionArn": "arn:aws:lambda:eu-west-1:111122223333:function:changes",
            "State": self.state,
            "LastProcessingResult": self.result,
            "StartingPosition": self.begins,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }


@dataclass
class Streams:
    """The records of one open shard."""

    records: list[tuple[str, datetime]]

    def get_shard_iterator(self, *, ShardIteratorType: str, SequenceNumber: str = "0", **_more: Any) -> Any:  # noqa: N803
        return {"ShardIterator": SequenceNumber if ShardIteratorType == "AFTER_SEQUENCE_NUMBER" else "0"}

    def get_records(self, *, ShardIterator: str, **_more: Any) -> Any:  # noqa: N803
        found = [one for one in self.records if int(one[0]) > int(ShardIterator)]
        last = found[-1][0] if found else ShardIterator
        made = [{"dynamodb": {"SequenceNumber": n, "ApproximateCreationDateTime": at}} for n, at in found]
        return {"Records": made, "NextShardIterator": last}


class World:
    """A table of three changes; `archived` of them are in the archive."""

    def __init__(self, archived: int = 3) -> None:
        self.table = LoadedTable()
        for number in range(3):
            self.table.table.put((f"item {number}", "x"), {"n": number})
        self.table.deliver(archived)
        self.clock: SimulatedClock = self.table.clock
        self.clock.sleep(1)
        self.lambda_ = Lambda()
        self.leases: list[StoredLease] = []
        self.alive: list[str | None] = [None]
        self.steps: list[str] = []
        made = datetime.fromtimestamp(self.clock() - 1, UTC)
        self.numbers = [write.sequence for write in self.table.table.history]
        self.streams = Streams([(number, made) for number in self.numbers])

    def handing(self, **options: Any) -> HandingOver:
        return HandingOver(
            "shop",
            self.table.stream.arn,
            self.lambda_,
            self.streams,
            lambda: self.leases,
            lambda _leases: self.alive.pop(0) if len(self.alive) > 1 else self.alive[0],
            lambda: [STREAM],
            self.table.place,
            "search-of-shop",
            since=timedelta(hours=1),
            clock=self.clock,
            now=self.clock,
            sleep=self.clock.sleep,
            observe=self._observe,
            **options,
        )

    def _observe(self, step: Step) -> None:
        self.steps.append(step.text)

    def lease(self, checkpoint: str) -> StoredLease:
        return StoredLease(f"s:{STREAM}", "stream", "worker", 1, checkpoint, None, None)


def test_the_lambda_is_switched_on_and_the_consumer_is_waited_for() -> None:
    world = World()
    world.alive = ["worker", "worker", None]
    done = world.handing().run("lambda")
    assert (done.is_whole, world.lambda_.switched) == (True, [True])
    assert [shard.records for shard in done.proof] == [3]
    assert any("stop the workers of the application search-of-shop" in step for step in world.steps)


def test_the_lambda_is_switched_off_when_the_consumer_has_passed() -> None:
    world = World()
    world.lambda_.state = "Enabled"
    world.alive = [None, "worker"]
    world.leases = [world.lease(world.numbers[-1])]
    done = world.handing().run("consumer")
    assert (done.is_whole, world.lambda_.switched) == (True, [False])


@pytest.mark.parametrize("checkpoint", ["TRIM_HORIZON", "behind"])
def test_a_consumer_that_is_behind_is_waited_for(checkpoint: str) -> None:
    world = World()
    world.lambda_.state = "Enabled"
    world.alive = ["worker"]
    world.leases = [world.lease(world.numbers[0] if checkpoint == "behind" else checkpoint)]
    waits: list[float] = []

    def catches_up(seconds: float) -> None:
        world.clock.sleep(seconds)
        waits.append(seconds)
        if len(waits) == 3:
            world.leases = [world.lease(world.numbers[-1])]

    replace(world.handing(), sleep=catches_up).run("consumer")
    assert len(waits) == 3
    assert world.lambda_.switched == [False]


def test_a_hole_in_the_archive_is_told_by_its_shard() -> None:
    world = World(archived=2)
    done = world.handing().run("lambda")
    assert not done.is_whole
    (shard,) = done.proof
    assert (shard.shard, shard.records, shard.missing, shard.examples) == (STREAM, 3, 1, (world.numbers[2],))


def test_a_function_that_fails_leaves_the_consumer_at_work() -> None:
    world = World()
    world.lambda_.result = "PROBLEM: Function call failed"
    world.alive = ["worker"]
    with pytest.raises(CdcError, match="changes fails: PROBLEM") as failed:
        world.handing().run("lambda")
    assert "The consumer still reads" in str(failed.value.remedy)


def test_what_can_not_be_handed_over_is_refused() -> None:
    world = World()
    world.lambda_ = Lambda(begins="LATEST")
    with pytest.raises(ConfigError, match="begins at LATEST"):
        world.handing().run("lambda")
    world.lambda_ = Lambda(handler="mine.handler")
    with pytest.raises(ConfigError, match="has a handler of its own"):
        world.handing().run("lambda")
    assert world.handing(repeats=True).run("lambda").is_whole
    world.lambda_ = Lambda(there=False)
    with pytest.raises(ConfigError, match="no function reads"):
        world.handing().run("lambda")
    readers = world.handing().readers()
    assert (readers.mapping, readers.lambda_reads, readers.worker) == (None, False, None)
