"""The consumer's word in the log: once a minute, for each table, and nothing of an item."""

from __future__ import annotations

from collections import Counter

import pytest

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.delivery.shard import BatchFacts
from cdc.duration import spoken
from cdc.testing import SimulatedClock
from consumers.kcl.progress import Progress


class World:
    """A consumer that reads shards of tables."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        self.caplog = caplog
        self.clock = SimulatedClock()
        self.running = Running(clock=self.clock, now=self.clock)
        self.running.alive = lambda: True
        self.progress = Progress(self.running)

    def shard(self, table: str, name: str) -> ShardStatus:
        status = ShardStatus(f"arn-{table}", name, table, since=self.clock())
        self.running.shards[status.stream, name] = status
        return status

    def settle(self, table: str, count: int) -> None:
        self.progress.batch(BatchFacts("shard", table, Counter(applied=count), 0, 0))

    def said(self) -> list[tuple[str, str]]:
        self.caplog.clear()
        self.progress.say()
        return [(record.levelname, record.getMessage()) for record in self.caplog.records]


def test_each_table_is_said_with_what_was_settled_and_until_when_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(caplog)
    for table, name in (("shop", "a"), ("shop", "b"), ("users", "a")):
        world.shard(table, name)
    world.settle("shop", 450)
    world.clock.sleep(60)
    assert world.said() == [
        (
            "INFO",
            "shop: 2 shards, 450 records settled in the last minute, 1 min behind; nothing is lost for 23 h 59 min",
        ),
        ("INFO", "users: 1 shard, 0 records settled in the last minute, 1 min behind; nothing is lost for 23 h 59 min"),
    ]
    world.settle("shop", 1)
    world.clock.sleep(60)
    assert "1 record settled in the last minute" in world.said()[0][1]
    assert world.progress.total == 451


def test_a_held_shard_is_a_warning_with_its_cause_and_since_when(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    world.shard("shop", "a").hold("OpenSearch is out of reach: ConnectionTimeout", world.clock())
    world.shard("shop", "b")
    world.clock.sleep(60)
    (line,) = world.said()
    assert line[0] == "WARNING"
    assert line[1].endswith(
        ". 1 of them is held since 2026-01-15T09:30:00Z, for 1 min: OpenSearch is out of reach: ConnectionTimeout"
    )


def test_shards_that_nobody_reads_are_said(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    world.running.unread = lambda: 3
    assert world.said() == [
        ("INFO", "no shard to read: other workers have them, or there is none"),
        ("WARNING", "3 shards are read by no worker: their records wait in the stream"),
    ]


def test_a_stream_that_has_begun_to_lose_records_is_said(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    world.shard("shop", "a")
    world.clock.sleep(25 * 3600)
    assert "the stream has begun to lose what was not read" in world.said()[0][1]


def test_nothing_is_said_before_the_scheduler_runs(caplog: pytest.LogCaptureFixture) -> None:
    world = World(caplog)
    world.running.alive = None
    assert world.said() == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (58, "58 s"), (60, "1 min"), (303, "5 min 3 s"), (86_280, "23 h 58 min"), (529_200, "6 d 3 h")],
)
def test_a_duration_is_spoken_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
