"""A table in memory and its streams, with a history of all that was ever written."""

from __future__ import annotations

import random
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID
from zlib import crc32

import orjson

from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.records.attributes import AttributeValue, RawItem, encode_item
from cdc.records.change import StreamView
from cdc.records.identity import RecordIdentity, keys_digest
from cdc.records.stream import Stream
from cdc.testing.changes import raw_stream_record
from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults
from cdc.testing.simulated.stream import RETENTION_SECONDS, ShardRecord, SimulatedShard, SimulatedStream, counter_number

__all__ = ["SimulatedTable", "TableWrite", "as_boto3_gives"]

_TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/"


@dataclass(frozen=True, slots=True)
class TableWrite:
    """One change as it was made. Images are DynamoDB JSON; `digest` stands for the keys.

    `stream_arn`, `shard`, `sequence` and `identity` are empty if no stream was on: then no stream tells of it.
    `micros` is the time of the change, unlike that of every other change of the table.
    """

    place: int
    table: str
    keys: RawItem
    digest: str
    partition: int
    before: RawItem | None
    after: RawItem | None
    micros: int
    expired: bool
    stream_arn: str = ""
    shard: str = ""
    sequence: str = ""
    identity: str = ""

    @property
    def kinesis_identity(self) -> str:
        """The identity it has in a record of Kinesis Data Streams for DynamoDB."""
        return str(RecordIdentity(self.table, str(self.micros), self.digest))


class SimulatedTable:
    """Items by key; every write that changes something makes one record in the stream that is on.

    As in DynamoDB, a write that leaves the item as it was makes none, and neither does dropping the table. Nothing
    given is copied: leave attributes alone once they are written.

    `chance` decides on log positions only; `faults` on reads that fail (`read`).
    """

    def __init__(
        self,
        name: str,
        clock: SimulatedClock,
        chance: random.Random,
        *,
        view: StreamView | None = StreamView.NEW_AND_OLD_IMAGES,
        keys: Sequence[str] = ("pk", "sk"),
        shards: int = 1,
        faults: Faults | None = None,
    ) -> None:
        self.name = name
        self.keys = tuple(keys)
        self._clock = clock
        self._chance = chance
        self._shards = shards
        self._faults = faults
        self._items: dict[str, RawItem] = {}
        self._known: dict[tuple[Any, ...], tuple[RawItem, str, int]] = {}
        self._history: list[TableWrite] = []
        self._streams: list[SimulatedStream] = []
        self._facts: tuple[StreamView, str] | None = None  # of the stream that is on
        self._last_micros = 0
        self._listeners: list[Callable[[TableWrite], object]] = []
        self._exists = False
        self._made = 0
        self._began = (0, 0)  # the place in the history and the time when the present table was made
        self.create(view)

    @property
    def exists(self) -> bool:
        """Is there a table, or was it dropped?"""
        return self._exists

    @property
    def arn(self) -> str:
        """The ARN of every table of this name."""
        return _TABLE_ARN + self.name

    @property
    def id(self) -> str:
        """The id of the present table: another table of the same name has another one."""
        return str(UUID(int=crc32(self.name.encode()) << 32 | self._made))

    @property
    def view(self) -> StreamView | None:
        """The view of the stream that is on; None if none is."""
        return None if self._facts is None else self._facts[0]

    @property
    def items(self) -> Mapping[str, RawItem]:
        """The items of the table now, by the digest of the keys."""
        return self._items

    @property
    def history(self) -> tuple[TableWrite, ...]:
        """All changes ever made, oldest first, those of dropped tables of this name included."""
        return tuple(self._history)

    @property
    def all_streams(self) -> tuple[SimulatedStream, ...]:
        """Every stream that tables of this name ever had, oldest first."""
        return tuple(self._streams)

    @property
    def streams(self) -> tuple[SimulatedStream, ...]:
        """The answer of ListStreams: the stream that is on, and those that were on less than 24 hours ago."""
        horizon = self._clock() - RETENTION_SECONDS
        return tuple(stream for stream in self._streams if stream.closed_at is None or stream.closed_at > horizon)

    @property
    def shards(self) -> Sequence[SimulatedShard]:
        """All shards of all streams there ever were: reading trimmed records of one is a gap, not a wrong name."""
        return [shard for stream in self._streams for shard in stream.shards]

    @property
    def stream(self) -> SimulatedStream:
        """The stream that is on.

        Raises:
            LookupError: none is.
        """
        if self._facts is None:
            raise LookupError(f"no stream of {self.name} is on")
        return self._streams[-1]

    def items_at(self, micros: int) -> dict[str, RawItem]:
        """The items as they stood at a time, in microseconds since 1970, by the digest of the keys.

        Raises:
            ValueError: the present table was made later.
        """
        place, began = self._began
        if micros < began:
            raise ValueError(f"{self.name} was made later")
        items = dict(self._items)
        for write in reversed(self._history[place:]):
            if write.micros <= micros:
                break
            if write.before is None:
                items.pop(write.digest, None)
            else:
                items[write.digest] = write.before
        return items

    def put(self, key: Sequence[Any], attributes: Mapping[str, Any]) -> TableWrite | None:
        """Write an item of plain Python values; None if it was so already. `key`: the values of the key attributes."""
        keys, digest, partition = self._key(key)
        return self._write(keys, digest, partition, {**keys, **encode_item(attributes)}, expired=False)

    def delete(self, key: Sequence[Any]) -> TableWrite | None:
        """Remove an item; None if there is none."""
        keys, digest, partition = self._key(key)
        return self._write(keys, digest, partition, None, expired=False)

    def expire(self, key: Sequence[Any]) -> TableWrite | None:
        """Remove an item as TTL does: the record names DynamoDB's service as the user."""
        keys, digest, partition = self._key(key)
        return self._write(keys, digest, partition, None, expired=True)

    def listen(self, listener: Callable[[TableWrite], object]) -> None:
        """Call `listener` for each change from now on: a Kinesis stream does so."""
        self._listeners.append(listener)

    def enable_stream(self, view: StreamView = StreamView.NEW_AND_OLD_IMAGES) -> SimulatedStream:
        """A new stream, whose counter starts at 1, named by the time (milliseconds; never twice the same)."""
        if self._facts is not None:
            raise ValueError(f"a stream of {self.name} is on already")
        moment = self._clock.utc().replace(tzinfo=None)
        taken = {stream.arn for stream in self._streams}
        while (arn := f"{_TABLE_ARN}{self.name}/stream/{moment.isoformat(timespec='milliseconds')}") in taken:
            moment += timedelta(milliseconds=1)
        base = self._chance.randrange(10**9, 10**10)
        stream = SimulatedStream(
            arn,
            self._clock,
            shards=self._shards,
            shard_id=lambda place: _shard_id(arn, int(self._clock()), place),
            number=lambda counter: counter_number(counter, base + counter),
        )
        self._streams.append(stream)
        self._facts = view, Stream.dynamodb(arn).label
        return stream

    def disable_stream(self) -> None:
        """Close the stream: it stays readable for 24 hours. Changes made until another is on are told by none."""
        self.stream.close()
        self._facts = None

    def drop(self) -> None:
        """Delete the table: the items are gone without a record, its streams stay readable for 24 hours."""
        if self._facts is not None:
            self.disable_stream()
        self._items.clear()
        self._exists = False

    def create(self, view: StreamView | None = StreamView.NEW_AND_OLD_IMAGES) -> None:
        """Make the table (again); without a stream if `view` is None."""
        if self._exists:
            raise ValueError(f"{self.name} is there already")
        self._exists = True
        self._made += 1
        self._began = len(self._history), self._clock.micros
        if view is not None:
            self.enable_stream(view)

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        """See `cdc.item_reader.Items.read`: the items as they stand now.

        Raises:
            SinkUnavailable: `faults` say so, the table is dropped, or `table` is another.
        """
        if table != self.name or not self._exists:
            raise SinkUnavailable("table", f"items of {table} can't be read: ResourceNotFoundException")
        if self._faults is not None and (kind := self._faults.draw("table", {"throttled": 1})):
            raise SinkUnavailable("table", f"{len(keys)} items of {table} can't be read yet: it is {kind}")
        found = (self._items.get(keys_digest(key)) for key in keys)
        return [None if item is None else as_boto3_gives(item) for item in found]

    def _key(self, key: Sequence[Any]) -> tuple[RawItem, str, int]:
        known = tuple(key)
        # the types belong to it: 1 == True in Python, and they are two keys here
        if (facts := self._known.get(cached := (*known, *map(type, known)))) is None:
            keys = encode_item(dict(zip(self.keys, known, strict=True)))
            facts = keys, keys_digest(keys), _hash(keys[self.keys[0]])
            self._known[cached] = facts
        return facts

    def _write(
        self, keys: RawItem, digest: str, partition: int, after: RawItem | None, *, expired: bool
    ) -> TableWrite | None:
        if not self._exists:
            raise LookupError(f"there is no table {self.name}")
        before = self._items.get(digest)
        if before == after:
            return None
        if after is None:
            del self._items[digest]
        else:
            self._items[digest] = after
        self._last_micros = max(self._clock.micros, self._last_micros + 1)
        place = len(self._history)
        write = TableWrite(place, self.name, keys, digest, partition, before, after, self._last_micros, expired)
        if self._facts is not None:
            write = self._recorded(write, *self._facts)
        self._history.append(write)
        for listener in self._listeners:
            listener(write)
        return write

    def _recorded(self, write: TableWrite, view: StreamView, label: str) -> TableWrite:
        stream = self._streams[-1]
        shard = stream.shard_of(write.partition)
        sequence = stream.number(shard)
        record = raw_stream_record(
            write.keys,
            write.before,
            write.after,
            sequence=sequence,
            event_id=f"{write.place:032x}",
            stream_arn=stream.arn,
            created=float(int(self._clock())),  # DynamoDB Streams give whole seconds
            expired=write.expired,
            view=view,
        )
        shard.records.append(ShardRecord(sequence, write.digest, self._clock(), record))
        return TableWrite(
            write.place,
            write.table,
            write.keys,
            write.digest,
            write.partition,
            write.before,
            write.after,
            write.micros,
            write.expired,
            stream.arn,
            shard.id,
            sequence,
            str(RecordIdentity(label, sequence, write.digest)),
        )


def _shard_id(arn: str, seconds: int, place: int) -> str:
    """A shard's id that says, like real ones, when it was made, in milliseconds; `place` orders those of one second."""
    return f"shardId-{seconds * 1000 + place:020d}-{crc32(f'{arn}{place}'.encode()):08x}"


def _hash(value: AttributeValue) -> int:
    return int.from_bytes(blake2b(orjson.dumps(value), digest_size=4).digest(), "big")


def as_boto3_gives(item: RawItem) -> RawItem:
    """The item with binary as bytes."""
    return {name: _for_boto3(value) for name, value in item.items()}


def _for_boto3(value: Any) -> Any:
    ((tag, content),) = value.items()
    match tag:
        case "B":
            return {"B": b64decode(content)}
        case "BS":
            return {"BS": [b64decode(member) for member in content]}
        case "L":
            return {"L": [_for_boto3(member) for member in content]}
        case "M":
            return {"M": {name: _for_boto3(member) for name, member in content.items()}}
        case _:
            return value
