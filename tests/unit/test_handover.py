"""Leases reach workers that follow their streams, and a write that is too late moves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cdc.testing import SimulatedClock
from consumers.cli.leases import forget, live_owner, table_of
from consumers.kcl.leases.followed_leases import stream_of_item
from consumers.kcl.leases.handover import FOLLOWER, Handover, StoredLease, Times, stored_leases

SHOP, USERS = "000:r$000$shop$2026:1", "000:r$000$users$2026:1"
TIMES = Times(look_seconds=2, unowned_seconds=6, silent_seconds=45)


class LostRace(Exception):
    """The condition did not hold."""


class LeaseTable:
    """The part of DynamoDB that a lease table needs."""

    class exceptions:  # noqa: N801  (boto3's name)
        ConditionalCheckFailedException = LostRace

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.before_update: list[Any] = []

    def add(self, stream: str, owner: str | None = None, follower: str | None = None, **more: str) -> str:
        key = f"{stream}:shardId-{len(self.items)}"
        item: dict[str, Any] = {name: {"S": value} for name, value in more.items()}
        item |= {"leaseKey": {"S": key}, "streamName": {"S": stream}, "leaseCounter": {"N": "7"}}
        item |= {"leaseOwner": {"S": owner}} if owner else {}
        item |= {FOLLOWER: {"S": follower}} if follower else {}
        self.items[key] = item
        return key

    def get_paginator(self, _name: str) -> LeaseTable:
        return self

    def paginate(self, **_asked: Any) -> Iterator[dict[str, Any]]:
        for item in list(self.items.values()):
            yield {"Items": [dict(item)]}

    def update_item(self, **asked: Any) -> None:
        for disturb in self.before_update:
            disturb()
        item, values = self.items[asked["Key"]["leaseKey"]["S"]], asked.get("ExpressionAttributeValues", {})
        for wanted in asked["ConditionExpression"].split(" AND "):
            if wanted.startswith("attribute_not_exists"):
                held = wanted[len("attribute_not_exists(") : -1] not in item
            else:
                name, value = wanted.split(" = ")
                held = item.get(name) == values[value]
            if not held:
                raise LostRace
        sets, _, removes = asked["UpdateExpression"].removeprefix("SET ").partition("REMOVE ")
        for assignment in filter(None, sets.strip().split(", ")):
            name, value = assignment.split(" = ")
            item[name] = values[value]
        for name in filter(None, removes.split(", ")):
            item.pop(name, None)

    def delete_item(self, **asked: Any) -> None:
        key = asked["Key"]["leaseKey"]["S"]
        if self.items[key]["leaseCounter"] != asked["ExpressionAttributeValues"][":counter"]:
            raise LostRace
        del self.items[key]

    def owner(self, key: str) -> str | None:
        return next((lease.owner for lease in self.leases() if lease.key == key), None)

    def leases(self) -> list[StoredLease]:
        return list(stored_leases(self, "app"))  # type: ignore[arg-type]


class World:
    """A lease table, and workers with tables of their own."""

    def __init__(self) -> None:
        self.table = LeaseTable()
        self.clock = SimulatedClock()
        self.workers: list[Handover] = []

    def worker(self, name: str, *streams: str) -> Handover:
        made = Handover(self.table, "app", name, lambda stream: stream in streams, TIMES, clock=self.clock)  # type: ignore[arg-type]
        self.workers.append(made)
        return made

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / TIMES.look_seconds)):
            self.clock.sleep(TIMES.look_seconds)
            for worker in self.workers:
                worker.look()


def test_a_lease_that_is_not_followed_is_handed_to_the_worker_that_is_known_to_follow_it() -> None:
    world = World()
    key = world.table.add(SHOP, "old", "new")
    world.worker("old", USERS).look()
    assert world.table.owner(key) == "new"
    assert world.table.items[key]["leaseCounter"] == {"N": "8"}


def test_another_lease_of_the_stream_tells_who_follows_it() -> None:
    world = World()
    key = world.table.add(SHOP, "old")
    world.table.add(SHOP, "new", "new")
    world.worker("old", USERS).look()
    assert world.table.owner(key) == "new"


def test_a_lease_that_nobody_is_known_to_follow_is_left_and_no_worker_keeps_it() -> None:
    world = World()
    key = world.table.add(SHOP, "one", "two")
    for name in ("one", "two", "three"):
        world.worker(name, USERS)
    world.pass_time(10)
    assert world.table.owner(key) is None
    assert FOLLOWER not in world.table.items[key]


def test_a_lease_that_is_being_handed_over_waits_for_the_worker_that_still_reads_it() -> None:
    world = World()
    key = world.table.add(SHOP, "old", "new", checkpointOwner="new")
    world.worker("old", USERS).look()
    assert world.table.owner(key) == "old"


def test_a_lease_without_an_owner_is_left_to_the_leader_first_and_then_taken_by_a_follower() -> None:
    world = World()
    key = world.table.add(SHOP)
    world.worker("old", USERS)
    world.worker("new", SHOP, USERS)
    world.pass_time(6)
    assert world.table.owner(key) is None
    world.pass_time(4)
    assert world.table.owner(key) == "new"


def test_a_lease_of_a_worker_that_does_not_renew_is_taken_by_a_follower() -> None:
    world = World()
    key = world.table.add(SHOP, "dead", "dead")
    world.worker("new", SHOP)
    world.pass_time(40)
    assert world.table.owner(key) == "dead"
    world.pass_time(10)
    assert world.table.owner(key) == "new"


def test_a_worker_takes_no_more_leases_than_it_may_have() -> None:
    world = World()
    keys = [world.table.add(SHOP) for _ in range(5)]
    worker = world.worker("new", SHOP)
    worker.most_leases = 2
    world.pass_time(60)
    assert sorted(str(world.table.owner(key)) for key in keys) == ["None", "None", "None", "new", "new"]
    assert worker.unread == 3


def test_a_lease_that_is_renewed_is_taken_by_nobody() -> None:
    world = World()
    key = world.table.add(SHOP, "alive", "alive")
    world.worker("new", SHOP)
    for number in range(100):
        world.table.items[key]["leaseCounter"] = {"N": str(100 + number)}
        world.pass_time(2)
    assert world.table.owner(key) == "alive"


def test_of_two_workers_that_take_a_lease_one_gets_it() -> None:
    world = World()
    key = world.table.add(SHOP)
    worker = world.worker("late", SHOP)
    world.pass_time(6)

    def another_takes_it() -> None:
        world.table.items[key] |= {"leaseOwner": {"S": "early"}, "leaseCounter": {"N": "8"}}

    world.table.before_update.append(another_takes_it)
    worker.look()
    world.pass_time(4)
    assert world.table.owner(key) == "early"


def test_the_position_of_a_lease_is_never_written() -> None:
    world = World()
    keys = [
        world.table.add(SHOP, owner, follower, checkpoint="123")
        for owner in (None, "old", "dead")
        for follower in (None, "old", "new")
    ]
    world.worker("old", USERS)
    world.worker("new", SHOP)
    world.pass_time(100)
    assert {world.table.items[key]["checkpoint"]["S"] for key in keys} == {"123"}


def test_a_lease_of_a_shard_that_is_read_to_its_end_is_left_alone() -> None:
    world = World()
    key = world.table.add(SHOP, checkpoint="SHARD_END")
    world.worker("new", SHOP)
    world.pass_time(100)
    assert world.table.owner(key) is None


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"streamName": SHOP, "leaseKey": f"{SHOP}:shardId-1"}, SHOP),
        ({"leaseKey": f"{SHOP}:shardId-1"}, SHOP),
        ({"leaseKey": "leader"}, None),
        ({}, None),
    ],
    ids=["a lease", "its entry in the index of owners", "what is no lease", "nothing"],
)
def test_the_stream_of_a_lease_is_known_by_its_item_or_its_key(item: dict[str, str], name: str | None) -> None:
    assert stream_of_item(item) == name


@pytest.mark.parametrize(
    ("stream", "table"),
    [(SHOP, "shop"), ("000:changes:1700000000", "changes"), ("odd", "odd")],
    ids=["a table's", "Kinesis", "of a form that is not known"],
)
def test_people_call_a_stream_by_its_table(stream: str, table: str) -> None:
    assert table_of(stream) == table


def watched_owner(table: LeaseTable, renewing: str = "") -> str | None:
    """The live owner, while the lease `renewing` is renewed each second."""
    clock = SimulatedClock()

    def look() -> list[StoredLease]:
        for key, item in table.items.items():
            if key == renewing:
                item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}
        return table.leases()

    return live_owner(table.leases(), look, 10, clock.sleep, clock)


def test_a_worker_that_renews_a_lease_lives_and_one_that_does_not_is_dead() -> None:
    table = LeaseTable()
    key = table.add(SHOP, "one")
    table.add(SHOP)
    assert watched_owner(table, key) == "one"
    assert watched_owner(table) is None


def test_a_lease_that_a_worker_wrote_meanwhile_is_not_forgotten() -> None:
    table = LeaseTable()
    keys = [table.add(SHOP), table.add(SHOP)]
    seen = table.leases()
    table.items[keys[0]]["leaseCounter"] = {"N": "8"}
    assert [lease.key for lease in forget(table, "app", seen)] == keys[:1]  # type: ignore[arg-type]
    assert list(table.items) == keys[:1]
