"""A table, its indices and its archive on simulated servers, with a live consumer that goes on when it is told to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import orjson

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.deadline import Deadline
from cdc.delivery.missing_image import ReadMissingImage
from cdc.loads.changes import change_of_item, keys_of, loaded_version
from cdc.loads.deployment import ArchivePlace, Deployment
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import TOMBSTONE_FIELD, Mappings
from cdc.outcome import settled
from cdc.records.attributes import RawItem
from cdc.records.change import Change, StreamView
from cdc.records.decoding import change_from_kinesis, change_from_stream_record
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream
from cdc.testing import (
    SimulatedClock,
    SimulatedDocuments,
    SimulatedOpenSearch,
    SimulatedPages,
    SimulatedS3,
    SimulatedTable,
    TableWrite,
)
from consumers.pipelines import LOAD
from consumers.settings import load_settings
from tests.runtimes import simulated_runtime

__all__ = ["ARCHIVE", "KINESIS", "LoadedTable"]

ARCHIVE = "archive"
KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"
_ENVIRONMENT = {"CDC_MAPPINGS": "none", "CDC_ARCHIVE_BUCKET": ARCHIVE, "CDC_DEAD_LETTER_BUCKET": "letters"}


class LoadedTable:
    """A table `shop` by one mapping. `deliver` is the live consumer; `page` and `write` are those of a load."""

    def __init__(
        self,
        mapping: str = "documents: [{index: orders}]",
        *,
        view: StreamView = StreamView.NEW_AND_OLD_IMAGES,
        kinesis: bool = False,
        keys: Sequence[str] = ("pk", "sk"),
    ) -> None:
        self.clock = SimulatedClock()
        chance = random.Random(1)  # noqa: S311  (not a secret)
        self.table = SimulatedTable("shop", self.clock, chance, view=view, keys=keys)
        self.server = SimulatedOpenSearch(self.clock)
        self.s3 = SimulatedS3(self.clock)
        self.letters = S3DeadLetters(self.s3, "letters")  # type: ignore[arg-type]
        self.mapping = parse_mapping(f"table: shop\n{mapping}", source="shop.yml")
        self.runtime = simulated_runtime(
            load_settings({**_ENVIRONMENT, "CDC_OPENSEARCH_ENDPOINT": "http://simulated"}),
            Mappings((self.mapping,)),
            self.clock,
            opensearch=self.server,
            archive=self.s3,
            dead_letters=self.letters,
            items=self.table,
        )
        self.place = ArchivePlace(self.s3, ARCHIVE, "cdc")  # type: ignore[arg-type]
        pipelines = self.runtime.pipelines
        self.deployment = Deployment(
            pages=SimulatedPages(self.table, self.clock, chance),
            items=self.table,
            prepare=self.runtime.tables.prepare,
            index=pipelines.index,  # type: ignore[arg-type]  # there is one
            load_sink=lambda sink: pipelines.around(sink, LOAD, self.clock.sleep),
            documents=SimulatedDocuments(self.server),
            archive=self.place,
            dead_letters=self.letters,
            clock=self.clock,
            now=self.clock,
            sleep=self.clock.sleep,
            concrete=pipelines.concrete_index,  # type: ignore[arg-type]  # there is one
        )
        self.stream = Stream.kinesis(KINESIS, "shop") if kinesis else Stream.dynamodb(self.table.stream.arn)
        self.compiled = self.deployment.prepare(self.stream, self.table.keys)
        self._delivered = 0

    # --- the live consumer

    def deliver(self, count: int | None = None, *, archived: bool = True) -> None:
        """Write the next changes to the index, then to the archive."""
        end = len(self.table.history) if count is None else self._delivered + count
        changes = [self.change(write) for write in self.table.history[self._delivered : end]]
        self._delivered += len(changes)
        if changes:
            self._written(changes)
        if changes and archived:
            self.archive(changes)

    def archive(self, changes: Sequence[Change]) -> None:
        """Put changes into one object."""
        archive = self.runtime.pipelines.archive()
        assert archive is not None
        archive.write(changes, Deadline.after(30, clock=self.clock))
        archive.flush(Deadline.after(30, clock=self.clock))

    def change(self, write: TableWrite) -> Change:
        """The change as the stream tells it."""
        if self.stream.minute is None:
            facts: dict[str, Any] = {"Keys": write.keys, "ApproximateCreationDateTime": write.micros}
            facts |= {"ApproximateCreationDateTimePrecision": "MICROSECOND"}
            facts |= {name: image for name, image in (("OldImage", write.before), ("NewImage", write.after)) if image}
            name = "INSERT" if write.before is None else "REMOVE" if write.after is None else "MODIFY"
            payload = orjson.dumps({"tableName": "shop", "eventName": name, "dynamodb": facts})
            return change_from_kinesis(payload, KINESIS, SequenceNumber.parse(str(10**55 + write.place), 56))
        records = {record.sequence: record.record for shard in self.table.shards for record in shard.records}
        return change_from_stream_record(dict(records[write.sequence]), self.stream)

    # --- a load

    def page(self) -> list[Change]:
        """Read the whole table, as a load does."""
        micros = self.clock.micros
        version = loaded_version(self.stream, micros)
        items: list[RawItem] = list(self.table.items.values())
        return [
            change_of_item(item, keys_of(item, self.table.keys), self.stream, version=version, micros=micros)
            for item in items
        ]

    def write(self, page: Sequence[Change]) -> None:
        """Write a page that was read."""
        if page:
            self._written(page)

    def _written(self, changes: Sequence[Change]) -> None:
        index = self.runtime.pipelines.index(self.runtime.tables.mapping)
        assert index is not None
        sink = ReadMissingImage(index, self.table)
        assert all(map(settled, sink.write(changes, Deadline.after(30, clock=self.clock))))

    # --- what there is

    def forget(self) -> None:
        """OpenSearch is restarted: it forgets deletes."""
        self.server.restart()

    def remove(self, *names: str, index: str = "orders") -> None:
        """Somebody removes documents by hand, and OpenSearch forgets it."""
        for name in names:
            version = self.server.documents(index)[name][0]
            action = {"delete": {"_index": index, "_id": name, "version": version, "version_type": "external_gte"}}
            self.server.bulk(body=orjson.dumps(action) + b"\n")
        self.forget()

    def documents(self, index: str = "orders") -> dict[str, int]:
        """The documents that searches see: the number `n` of each."""
        held = self.server.documents(index)
        return {name: source["n"] for name, (_, source) in held.items() if TOMBSTONE_FIELD not in source}

    def wanted(self) -> dict[str, int]:
        """The documents that the table should have: ids are the keys joined, `live: false` has none."""
        return {
            "|".join(str(next(iter(item[key].values()))) for key in sorted(self.table.keys)): int(item["n"]["N"])
            for item in self.table.items.values()
            if item.get("live") != {"BOOL": False}
        }
