"""The archive replayed: lines as the changes that they were, what is read of it, and what it is written to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc import Change, Deadline
from cdc.archive import DYNAMODB_REACH, ArchivedChange, line_of, read_archive
from cdc.causes import Cause, CauseKind
from cdc.dead_letters.letter import change_of_letter, letter_of
from cdc.errors import ConfigError, MalformedRecord, SinkUnavailable
from cdc.loads.archived import change_of_line, changes_since
from cdc.loads.batches import BatchWriter, ReplayStopped
from cdc.loads.deployment import ArchivePlace
from cdc.loads.ghosts import close_by_archive
from cdc.loads.replay import replay_to_functions, replay_to_index
from cdc.outcome import Applied, Deferred, Outcome, Rejected
from cdc.records.change import StreamView
from cdc.records.decoding import change_from_kinesis, change_from_stream_record
from cdc.records.sequence import SequenceNumber
from cdc.sinks.functions import FunctionSink
from cdc.testing import ScriptedSink, SimulatedClock, change
from tests.loading import ARCHIVE, KINESIS, LoadedTable

LONG_AGO = timedelta(days=3)
IMAGES: list[tuple[Any, Any]] = [(None, {"n": 1}), ({"n": 1}, {"n": 2, "b": b"\x00"}), ({"n": 2}, None)]


def shop(mapping: str = "documents: [{index: orders}]", **about: Any) -> LoadedTable:
    """Three items that were written, changed and archived; one of them was deleted."""
    world = LoadedTable(mapping, **about)
    for number in range(3):
        world.table.put((f"k{number}", "x"), {"n": number, "secret": "s"})
        world.clock.sleep(10)
    world.table.put(("k1", "x"), {"n": 10, "secret": "s"})
    world.table.delete(("k2", "x"))
    world.deliver()
    return world


def since(world: LoadedTable) -> datetime:
    return world.clock.utc() - LONG_AGO


# --- lines as changes


def same(one: Change, other: Change) -> bool:
    """Are all facts of two changes the same, but that one is replayed?"""
    facts = ["operation", "stream", "sequence", "view", "raw_keys", "raw_before", "raw_after", "created_micros"]
    facts += ["expired", "event_id", "is_coarse", "version", "identity"]
    return all(getattr(one, name) == getattr(other, name) for name in facts)


@pytest.mark.parametrize("view", list(StreamView))
@pytest.mark.parametrize("images", IMAGES, ids=["insert", "modify", "remove"])
@pytest.mark.parametrize("expired", [False, True])
def test_a_line_is_the_change_that_it_was_made_of(view: StreamView, images: tuple[Any, Any], expired: bool) -> None:
    made = change({"pk": "a"}, *images, view=view, sequence=7 * 10**20, expired=expired and images[1] is None)
    replayed = change_of_line(ArchivedChange.of(line_of(made)))
    assert same(replayed, made)
    assert (replayed.pinned_version, replayed.redriven) == (made.version, True)


@pytest.mark.parametrize("precision", ["MICROSECOND", "MILLISECOND"])
def test_a_line_of_kinesis_keeps_its_identity_and_version(precision: str) -> None:
    payload = (
        b'{"tableName":"shop","eventName":"INSERT","dynamodb":{"Keys":{"pk":{"S":"a"}},"NewImage":{"pk":{"S":"a"}},'
        b'"ApproximateCreationDateTime":%d,"ApproximateCreationDateTimePrecision":"%s"}}'
        % (1_768_469_400_123_456 if precision == "MICROSECOND" else 1_768_469_400_123, precision.encode())
    )
    made = change_from_kinesis(payload, KINESIS, SequenceNumber.parse("9" * 56, 56))
    replayed = change_of_line(ArchivedChange.of(line_of(made)))
    assert same(replayed, made)
    letter = letter_of(replayed, Rejected(Cause("no")), "opensearch", datetime.now(UTC))
    assert same(change_of_letter(letter), made)


@pytest.mark.parametrize("images", IMAGES, ids=["insert", "modify", "remove"])
def test_a_dead_letter_of_a_replayed_change_can_be_read_back(images: tuple[Any, Any]) -> None:
    made = change({"pk": "a"}, *images, sequence=7 * 10**20, created=1768469400.25, expired=images[1] is None)
    replayed = change_of_line(ArchivedChange.of(line_of(made)))
    letter = letter_of(replayed, Rejected(Cause("no")), "opensearch", datetime.now(UTC))
    assert same(change_of_letter(letter), made)


def test_images_have_their_keys_whatever_the_archive_leaves_out() -> None:
    made = change({"pk": "a"}, None, {"n": 1, "secret": "s"})
    replayed = change_of_line(ArchivedChange.of(line_of(made, [("pk",), ("secret",)])))
    assert replayed.raw_after == {"pk": {"S": "a"}, "n": {"N": "1"}}


def test_a_line_that_is_no_whole_change_is_malformed() -> None:
    line = line_of(change({"pk": "a"}, None, {})).replace(b'"Operation":{"S":"INSERT"}', b'"Operation":{"S":"NO"}')
    with pytest.raises(MalformedRecord, match="can't be read as a change"):
        change_of_line(ArchivedChange.of(line))


# --- what is read


class Counting:
    """S3 that counts which objects are read."""

    def __init__(self, s3: Any) -> None:
        self.s3, self.read = s3, 0

    def get_object(self, **about: Any) -> Any:
        self.read += 1
        return self.s3.get_object(**about)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.s3, name)


class OutOfReach(Counting):
    """S3 that gives no object."""

    def get_object(self, **_about: Any) -> Any:
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": "SlowDown", "Message": "slowly"}}, "GetObject")


def numbered(world: LoadedTable, since: datetime, until: datetime | None = None, **about: Any) -> tuple[list[int], int]:
    """The places of the changes that are given, and how many objects were read for them."""
    s3 = Counting(world.s3)
    place = ArchivePlace(s3, ARCHIVE, "cdc", **about)  # type: ignore[arg-type]
    found = [int(one.event_id, 16) for one in changes_since(place, "shop", since, until, reach=DYNAMODB_REACH)]
    return found, s3.read


def hourly(hours: int = 100) -> LoadedTable:
    """A change an hour, each archived at once."""
    world = LoadedTable()
    for number in range(hours):
        world.table.put(("k", "x"), {"n": number})
        world.deliver()
        world.clock.sleep(3600)
    return world


def test_objects_that_were_written_before_are_not_read() -> None:
    world = hourly()
    assert numbered(world, world.clock.utc() - timedelta(hours=2.5)) == ([98, 99], 2)


def test_partitions_behind_the_end_are_not_read() -> None:
    world = hourly()
    begin = world.clock.utc() - timedelta(hours=90.5)
    found, read = numbered(world, begin, begin + timedelta(hours=5))
    assert found == [10, 11, 12, 13, 14]
    assert read < 40


def test_an_object_of_an_earlier_hour_may_reach_into_the_time() -> None:
    world = LoadedTable()
    for number in range(24):  # the consumer was down for a day
        world.table.put(("k", "x"), {"n": number})
        world.clock.sleep(3600)
    world.deliver()
    assert numbered(world, world.clock.utc() - timedelta(hours=1.5)) == ([23], 1)


def test_changes_without_a_time_are_always_given() -> None:
    world = hourly(3)
    record = dict(world.change(world.table.history[0]).record)
    record |= {"eventID": "ff", "dynamodb": {**record["dynamodb"], "SequenceNumber": "9" * 22}}
    del record["dynamodb"]["ApproximateCreationDateTime"]
    world.archive([change_from_stream_record(record, world.stream)])
    now = world.clock.utc()
    assert numbered(world, now) == ([255], 1)
    long_ago = now - timedelta(days=30)
    assert numbered(world, long_ago, long_ago + timedelta(hours=1)) == ([255], 1)


@pytest.mark.parametrize("at_once", [1, 4, 500])
def test_many_objects_are_fetched_at_the_same_time_and_read_in_order(at_once: int) -> None:
    world = hourly(30)
    assert numbered(world, world.clock.utc() - LONG_AGO, at_once=at_once)[0] == list(range(30))


def test_without_times_all_of_the_archive_is_read() -> None:
    world = hourly(30)
    assert len(list(read_archive(world.s3, ARCHIVE, "cdc", "shop"))) == 30  # type: ignore[arg-type]


def test_an_archive_out_of_reach_is_said_to_be() -> None:
    world = hourly(1)
    place = ArchivePlace(OutOfReach(world.s3), ARCHIVE, "cdc")  # type: ignore[arg-type]
    with pytest.raises(SinkUnavailable, match="s3://archive/cdc can't be read") as raised:
        list(changes_since(place, "shop", since(world)))
    assert raised.value.cause.kind is CauseKind.OVERLOADED


# --- what is written


def test_documents_that_were_removed_by_hand_are_there_again() -> None:
    world = shop()
    world.remove("k0|x", "k1|x")
    assert world.documents() == {}
    summary = replay_to_index(world.deployment, "shop", since(world))
    assert world.documents() == world.wanted() == {"k0|x": 0, "k1|x": 10}
    assert (summary.sinks["index"].changes, summary.dead_letters) == (5, 0)


def test_a_replay_may_be_repeated() -> None:
    world = shop()
    for _ in range(2):
        replay_to_index(world.deployment, "shop", since(world))
        assert world.documents() == world.wanted()
    versions = [version for version, _ in world.server.documents("orders").values()]
    newest = {write.digest: world.change(write).version for write in world.table.history}
    assert sorted(versions) == sorted(newest[digest] for digest in world.table.items)


def test_an_end_before_a_delete_brings_no_ghost() -> None:
    world = LoadedTable()
    world.table.put(("k", "x"), {"n": 1})
    world.deliver()
    world.clock.sleep(60)
    between = world.clock.utc()
    world.clock.sleep(60)
    world.table.delete(("k", "x"))
    world.deliver()
    world.forget()
    summary = replay_to_index(world.deployment, "shop", since(world), between)
    assert world.documents() == {}
    assert summary.sinks["index"].applied == 1
    assert summary.removals is not None
    assert summary.removals.applied >= 1


def test_records_without_images_are_completed_from_the_table() -> None:
    world = shop(view=StreamView.KEYS_ONLY)
    world.remove("k0|x")
    replay_to_index(world.deployment, "shop", since(world))
    assert world.documents() == world.wanted()


def test_one_index_of_the_mapping_may_be_named() -> None:
    world = shop("documents: [{index: orders}, {index: copies}]")
    world.remove("k0|x")
    world.remove("k0|x", index="copies")
    replay_to_index(world.deployment, "shop", since(world), index="copies")
    assert (sorted(world.documents()), sorted(world.documents("copies"))) == (["k1|x"], ["k0|x", "k1|x"])
    with pytest.raises(ConfigError, match="for the index nothing"):
        replay_to_index(world.deployment, "shop", since(world), index="nothing")


def test_a_table_whose_stream_is_off_is_replayed_as_its_changes_tell() -> None:
    world = shop()
    world.table.disable_stream()
    world.remove("k0|x")
    replay_to_index(world.deployment, "shop", since(world))
    assert world.documents() == world.wanted()


def test_functions_get_each_change_once_marked_as_redriven() -> None:
    world, seen = shop(), list[Change]()
    sink = FunctionSink(on_insert=seen.append, on_modify=seen.append, on_remove=seen.append)
    clock = world.clock
    summary = replay_to_functions(world.place, "shop", since(world), None, sink, clock=clock, sleep=clock.sleep)
    assert [one.event_id for one in seen] == [f"{place:032x}" for place in range(5)]
    assert all(one.redriven for one in seen)
    assert summary.sinks["functions"].applied == 5


def test_index_and_functions_may_be_replayed_to_together() -> None:
    world, seen = shop(), list[Change]()
    world.remove("k0|x")
    sink = FunctionSink(on_insert=seen.append)
    summary = replay_to_index(world.deployment, "shop", since(world), functions=sink)
    assert world.documents() == world.wanted()
    assert len(seen) == 3
    assert summary.sinks["functions"].outcomes == {"applied": 3, "skipped": 2}


def test_a_change_that_is_rejected_is_kept_as_a_dead_letter() -> None:
    world = shop("documents: [{index: orders, on_unfit: dead_letter}]")
    world.remove("k0|x", "k1|x")
    world.server.rejects = lambda source: "mapper_parsing_exception" if source.get("n") == 10 else None
    summary = replay_to_index(world.deployment, "shop", since(world))
    assert summary.dead_letters == len(list(world.letters.keys("shop"))) > 0


class Busy(ScriptedSink):
    """A sink that defers the first changes."""

    def __init__(self, deferrals: int) -> None:
        self.left = deferrals
        super().__init__(self._answer)

    def _answer(self, _change: Change) -> Outcome:
        self.left -= 1
        return Deferred(Cause("busy", CauseKind.OVERLOADED), 2.0) if self.left >= 0 else Applied()


def test_a_deferred_batch_is_tried_again_for_as_long_as_it_takes() -> None:
    clock = SimulatedClock()
    changes = [change({"pk": "a"}, None, {"n": n}, sequence=n + 1) for n in range(3)]
    began = clock()
    done = BatchWriter({"index": Busy(10)}, clock, clock.sleep).write(changes)
    assert done["index"].outcomes == {"applied": 3}
    assert clock() - began >= 2.0


def test_a_replay_that_is_not_wanted_any_more_stops() -> None:
    clock = SimulatedClock()
    until = clock() + 60
    writer = BatchWriter({"index": Busy(10**9)}, clock, clock.sleep, lambda: clock() < until)
    with pytest.raises(ReplayStopped):
        writer.write([change({"pk": "a"}, None, {})])
    assert clock() - until <= 2.0


class Sized(ScriptedSink):
    """A sink that notes how many changes it is given at a time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        super().__init__(lambda _: Applied())

    def write(self, changes: Any, deadline: Deadline) -> Any:
        self.sizes.append(len(changes))
        return super().write(changes, deadline)


def test_batches_are_bounded_by_bytes_and_by_count() -> None:
    clock, sink = SimulatedClock(), Sized()
    small = [change({"pk": "a"}, None, {}, sequence=n + 1) for n in range(6)]
    large = [change({"pk": "a"}, None, {"text": "x" * 4000}, sequence=n + 10) for n in range(4)]
    BatchWriter({"index": sink}, clock, clock.sleep, most_changes=3, most_bytes=9000).write([*small, *large])
    assert sink.sizes == [3, 3, 2, 2]


# --- what the archive leaves out


def test_a_document_that_needs_what_the_archive_leaves_out_is_refused() -> None:
    world = shop("archive: {exclude: [secret]}\ndocuments: [{index: orders}]")
    with pytest.raises(ConfigError, match=r"archive.exclude leaves out 'secret', and the document of orders") as raised:
        replay_to_index(world.deployment, "shop", since(world))
    assert "cdc backfill --table shop" in raised.value.remedy


@pytest.mark.parametrize("fields", ["{exclude: [secret]}", "{include: [pk, sk, n]}"])
def test_a_document_that_does_without_it_is_replayed(fields: str) -> None:
    world = shop(f"archive: {{exclude: [secret, sk]}}\ndocuments: [{{index: orders, fields: {fields}}}]")
    world.remove("k0|x")
    replay_to_index(world.deployment, "shop", since(world))
    assert world.documents() == world.wanted()
    assert world.server.documents("orders")["k0|x"][1]["sk"] == "x"


def test_where_that_reads_it_is_refused() -> None:
    fields = "fields: {exclude: [secret]}"
    world = shop(f"archive: {{exclude: [secret]}}\ndocuments: [{{index: orders, where: {{secret: [s]}}, {fields}}}]")
    with pytest.raises(ConfigError, match="`where` of the document of orders"):
        replay_to_index(world.deployment, "shop", since(world))


@pytest.mark.parametrize("leaving", [True, False])
def test_removals_are_decided_by_the_table_where_the_archive_lacks_what_where_reads(leaving: bool) -> None:
    where = "where: {live: [{anything-but: [false]}]}"
    world = LoadedTable(f"archive: {{exclude: [live]}}\ndocuments: [{{index: orders, {where}}}]")
    for name in ("stays", "goes"):
        world.table.put((name, "x"), {"n": 1, "live": True})
    world.deliver()
    page = world.page()
    world.clock.sleep(1)
    began = world.clock.utc()
    if leaving:
        world.table.put(("goes", "x"), {"n": 2, "live": False})
    else:
        world.table.delete(("goes", "x"))
    world.table.put(("stays", "x"), {"n": 3, "live": True})
    world.deliver()
    world.forget()
    world.write(page)
    assert sorted(world.documents()) == ["goes|x", "stays|x"]
    close_by_archive(world.deployment, world.place, world.compiled, began)
    assert world.documents() == {"stays|x": 3} == world.wanted()
