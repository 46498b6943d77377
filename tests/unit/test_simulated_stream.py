"""The simulated table and its streams behave as real ones were seen to."""

from __future__ import annotations

import random
from collections.abc import Iterable

import orjson
import pytest

from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.records.change import Change, Operation, StreamView
from cdc.records.decoding import read_adapter, read_kinesis, read_lambda
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import Faults, SimulatedClock, SimulatedKinesis, SimulatedShard, SimulatedTable, adapter_payload
from tests.events import payload

SOON = Deadline.after(60)


def seeded() -> random.Random:
    return random.Random(1)  # noqa: S311  (not a secret)


def table(**facts: object) -> tuple[SimulatedTable, SimulatedClock]:
    clock = SimulatedClock()
    return SimulatedTable("shop", clock, seeded(), **facts), clock  # type: ignore[arg-type]


def changes(shards: Iterable[SimulatedShard]) -> list[Change]:
    read = read_lambda({"Records": [record.record for shard in shards for record in shard.records]})
    found = [record for record in read if isinstance(record, Change)]
    assert len(found) == len(read)
    return found


def test_each_write_makes_one_record_that_the_history_knows_by_its_identity() -> None:
    shop, _ = table()
    shop.put(("a", 1), {"total": 1})
    shop.put(("a", 1), {"total": 2})
    shop.delete(("a", 1))
    read = changes(shop.shards)
    assert [change.operation for change in read] == [Operation.INSERT, Operation.MODIFY, Operation.REMOVE]
    assert [str(change.identity) for change in read] == [write.identity for write in shop.history]
    assert [change.identity.digest for change in read] == [write.digest for write in shop.history]
    assert [(change.raw_before, change.raw_after) for change in read] == [
        (write.before, write.after) for write in shop.history
    ]
    assert shop.items == {}


def test_a_write_that_changes_nothing_makes_no_record() -> None:
    shop, _ = table()
    assert shop.put(("a", 1), {"total": 1})
    assert shop.put(("a", 1), {"total": 1}) is None
    assert shop.delete(("b", 1)) is None
    assert len(changes(shop.shards)) == len(shop.history) == 1


def test_an_item_is_given_with_its_keys_as_dynamodb_json() -> None:
    shop, _ = table()
    shop.put(("a", 1), {"thumb": b"\x00", "tags": {"x"}})
    (item,) = shop.items.values()
    assert item == {"pk": {"S": "a"}, "sk": {"N": "1"}, "thumb": {"B": "AA=="}, "tags": {"SS": ["x"]}}


def test_an_expired_item_is_removed_by_the_service() -> None:
    shop, _ = table()
    shop.put(("a", 1), {})
    shop.expire(("a", 1))
    assert [change.expired for change in changes(shop.shards)] == [False, True]


@pytest.mark.parametrize("view", list(StreamView))
def test_a_view_lets_through_only_its_images(view: StreamView) -> None:
    shop, _ = table(view=view)
    shop.put(("a", 1), {"total": 1})
    shop.put(("a", 1), {"total": 2})
    shop.delete(("a", 1))
    inserted, modified, removed = changes(shop.shards)
    assert all(change.view is view for change in (inserted, modified, removed))
    assert (inserted.raw_after is not None, modified.raw_after is not None) == (view.has_new_image,) * 2
    assert (modified.raw_before is not None, removed.raw_before is not None) == (view.has_old_image,) * 2


def test_a_sequence_number_is_a_counter_and_20_digits_and_gets_longer_as_the_counter_does() -> None:
    shop, _ = table()
    for total in range(12):
        shop.put(("a", 1), {"total": total})
    numbers = [write.sequence for write in shop.history]
    assert [int(number) // 10**20 for number in numbers] == list(range(1, 13))
    assert [len(number) for number in numbers] == [21] * 9 + [22] * 3
    assert sorted(numbers) != numbers  # as text they are out of order
    assert sorted(numbers, key=int) == numbers
    assert all(SequenceNumber.parse(number) for number in numbers)


def test_the_same_number_occurs_in_two_shards() -> None:
    shop, _ = table(shards=2)
    for name in range(20):
        shop.put((f"item {name}", 1), {})
    first, second = ({record.sequence for record in shard.records} for shard in shop.shards)
    assert first & second
    assert len({write.identity for write in shop.history}) == 20


def test_a_split_hands_hot_items_to_children_whose_counter_goes_on() -> None:
    shop, _ = table()
    for name in range(8):
        shop.put((f"item {name}", 1), {"total": 0})
    parent = shop.shards[0]
    shop.stream.split(parent)
    for name in range(8):
        shop.put((f"item {name}", 1), {"total": 1})
    _, left, right = shop.shards
    assert parent.closed
    assert left.parents == right.parents == (parent,)
    assert len(parent.records) == 8
    assert len(left.records) + len(right.records) == 8
    assert left.records
    assert right.records
    assert min(left.records[0].number, right.records[0].number) > parent.records[-1].number
    assert not {record.item for record in left.records} & {record.item for record in right.records}


def test_a_shard_rolls_over_into_one_child() -> None:
    shop, _ = table()
    shop.put(("a", 1), {"total": 0})
    child = shop.stream.roll(shop.shards[0])
    shop.put(("a", 1), {"total": 1})
    assert [record.number // 10**20 for record in child.records] == [2]


def test_merged_shards_have_one_child_with_two_parents() -> None:
    shop, _ = table(shards=2)
    first, second = shop.shards
    child = shop.stream.merge(first, second)
    shop.put(("a", 1), {})
    assert child.parents == (first, second)
    assert len(child.records) == 1
    with pytest.raises(ValueError, match="closed already"):
        shop.stream.split(first)


def test_a_stream_enabled_again_has_its_own_name_and_counts_from_1_while_the_old_one_stays_readable() -> None:
    shop, clock = table()
    shop.put(("a", 1), {"total": 1})
    shop.put(("a", 1), {"total": 2})
    shop.disable_stream()
    assert shop.put(("a", 1), {"total": 3}).identity == ""  # type: ignore[union-attr]  # it is written
    clock.sleep(90)
    shop.enable_stream(StreamView.NEW_IMAGE)
    shop.put(("a", 1), {"total": 4})
    old, new = shop.streams
    assert old.arn == "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.000"
    assert new.arn == "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:31:30.000"
    assert [int(change.sequence.text) // 10**20 for change in changes(shop.shards)] == [1, 2, 1]
    last, first = changes(shop.shards)[1:]
    assert last.sequence > first.sequence
    assert last.version < first.version


def test_two_streams_of_one_millisecond_have_two_names() -> None:
    shop, _ = table()
    shop.disable_stream()
    shop.enable_stream()
    assert [stream.arn[-4:] for stream in shop.streams] == [".000", ".001"]


def test_a_table_made_anew_under_its_name_has_a_new_stream_and_the_old_one_stays_readable() -> None:
    shop, clock = table()
    shop.put(("a", 1), {"total": 1})
    shop.drop()
    with pytest.raises(LookupError):
        shop.put(("a", 1), {"total": 2})
    clock.sleep(60)
    shop.create()
    assert shop.items == {}
    shop.put(("a", 1), {"total": 3})
    assert [change.operation for change in changes(shop.shards)] == [Operation.INSERT, Operation.INSERT]
    assert len(shop.streams) == 2


def test_records_are_trimmed_and_a_disabled_stream_is_gone_after_24_hours() -> None:
    shop, clock = table()
    shop.put(("a", 1), {"total": 1})
    clock.sleep(12 * 3600)
    shop.put(("a", 1), {"total": 2})
    shop.disable_stream()
    assert shop.shards[0].trimmed == 0
    clock.sleep(12 * 3600 + 1)
    assert shop.shards[0].trimmed == 1
    assert len(shop.streams) == 1
    clock.sleep(12 * 3600)
    assert shop.shards[0].trimmed == 2
    assert not shop.streams
    assert len(shop.all_streams) == 1


def test_the_adapter_gives_a_record_in_milliseconds_with_empty_images_and_no_arn() -> None:
    shop, _ = table()
    shop.put(("a", 1), {"total": 1})
    shop.delete(("a", 1))
    real = payload("kcl-record")
    for record, change in zip(shop.shards[0].records, changes(shop.shards), strict=True):
        given = orjson.loads(adapter_payload(record.record))
        assert given.keys() == real.keys()
        assert given["dynamodb"].keys() == real["dynamodb"].keys()
        assert given["dynamodb"]["ApproximateCreationDateTime"] == 1768469400000
        read = read_adapter(record.payload, Stream.dynamodb(shop.stream.arn))
        assert isinstance(read, Change)
        assert (read.identity, read.raw_before, read.raw_after, read.created_micros) == (
            change.identity,
            change.raw_before,
            change.raw_after,
            change.created_micros,
        )


def test_items_are_read_as_boto3_gives_them() -> None:
    shop, _ = table()
    shop.put(("a", 1), {"thumb": b"\x00", "deep": {"list": [b"\x01"]}})
    keys = [shop.history[0].keys, {"pk": {"S": "b"}, "sk": {"N": "1"}}]
    assert shop.read("shop", keys, SOON) == [
        {
            "pk": {"S": "a"},
            "sk": {"N": "1"},
            "thumb": {"B": b"\x00"},
            "deep": {"M": {"list": {"L": [{"B": b"\x01"}]}}},
        },
        None,
    ]


def test_reads_fail_while_faults_are_on_and_while_the_table_is_dropped() -> None:
    faults = Faults(1, rate=1.0)
    shop, _ = table(faults=faults)
    with pytest.raises(SinkUnavailable, match="throttled"):
        shop.read("shop", [], SOON)
    faults.off()
    assert shop.read("shop", [], SOON) == []
    shop.drop()
    with pytest.raises(SinkUnavailable, match="ResourceNotFound"):
        shop.read("shop", [], SOON)


def test_the_same_seed_makes_the_same_stream() -> None:
    def records() -> list[object]:
        shop, clock = table(shards=2)
        for total in range(5):
            shop.put((f"item {total}", 1), {"total": total})
            clock.sleep(0.3)
        return [record.record for shard in shop.shards for record in shard.records]

    assert records() == records()


def kinesis_changes(kinesis: SimulatedKinesis) -> list[Change]:
    return [
        change
        for shard in kinesis.shards
        for record in shard.records
        if isinstance(
            change := read_kinesis(record.payload, kinesis.arn, SequenceNumber.parse(record.sequence, 56)), Change
        )
    ]


def test_kinesis_carries_every_change_with_a_microsecond_of_its_own() -> None:
    shop, clock = table()
    kinesis = SimulatedKinesis(clock, seeded(), disorder=0.0, duplicates=0.0)
    shop.listen(kinesis.deliver)
    for total in range(5):
        shop.put(("a", 1), {"total": total})
    shop.expire(("a", 1))
    read = kinesis_changes(kinesis)
    assert [str(change.identity) for change in read] == [write.kinesis_identity for write in shop.history]
    assert len({change.created_micros for change in read}) == 6
    assert [change.expired for change in read] == [False] * 5 + [True]
    assert all(len(change.sequence.text) == 56 for change in read)
    assert sorted(change.version for change in read) == [change.version for change in read]
    (record, *_) = (record.record for shard in kinesis.shards for record in shard.records)
    (real,) = payload("lambda-kinesis")["Records"]
    assert record.keys() == real.keys()
    assert record["kinesis"].keys() == real["kinesis"].keys()


def test_kinesis_delivers_late_behind_later_changes_and_twice_under_another_number() -> None:
    shop, clock = table()
    kinesis = SimulatedKinesis(clock, seeded(), disorder=0.3, duplicates=0.3)
    shop.listen(kinesis.deliver)
    for total in range(50):
        shop.put(("a", 1), {"total": total})
        clock.sleep(0.5)
    kinesis.settle()
    read = kinesis_changes(kinesis)
    assert {str(change.identity) for change in read} == {write.kinesis_identity for write in shop.history}
    assert len(read) > 50
    assert len({change.sequence for change in read}) == len(read)
    assert [change.version for change in read] != sorted(change.version for change in read)


def test_kinesis_is_resharded_in_the_middle_of_an_items_changes() -> None:
    shop, clock = table()
    kinesis = SimulatedKinesis(clock, seeded(), shards=1, disorder=0.0, duplicates=0.0)
    shop.listen(kinesis.deliver)
    shop.put(("a", 1), {"total": 1})
    kinesis.stream.merge(*kinesis.stream.split(kinesis.shards[0]))
    shop.put(("a", 1), {"total": 2})
    assert [len(shard.records) for shard in kinesis.shards] == [1, 0, 0, 1]
