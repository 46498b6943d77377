"""A table, its index and a consumer in memory, for tests of verifications: what is planted, and when."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cdc.dead_letters.letter import letter_of
from cdc.deadline import Deadline
from cdc.loads.deployment import Deployment
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.document_writer import DocumentWriter
from cdc.mappings.files import parse_mapping
from cdc.outcome import Rejected
from cdc.records.change import Change, StreamView
from cdc.records.decoding import change_from_stream_record
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock, SimulatedDocuments, SimulatedOpenSearch, SimulatedPages, SimulatedTable
from cdc.verification.findings import Findings
from cdc.verification.verify import verify
from tests.redriving import Letters

__all__ = ["World", "compiled_of"]


def compiled_of(documents: str, keys: Sequence[str] = ("pk", "sk")) -> CompiledMapping:
    """The mapping of the table shop with these documents, as YAML."""
    return compile_mapping(parse_mapping(f"table: shop\ndocuments: {documents}", source="shop.yml"), "shop", keys)


class World:
    """The table shop, which one consumer indexes whenever it is asked to."""

    def __init__(
        self, documents: str = "[{index: orders}]", *, seed: int = 1, keys: Sequence[str] = ("pk", "sk")
    ) -> None:
        self.clock = SimulatedClock()
        self.chance = random.Random(seed)  # noqa: S311  (not a secret)
        self.table = SimulatedTable("shop", self.clock, self.chance, keys=keys)
        self.server = SimulatedOpenSearch(self.clock)
        self.targets = Targets()
        self.compiled = compiled_of(documents, keys)
        self.letters = Letters()
        self.delivered = 0
        self.deployment = Deployment(
            pages=SimulatedPages(self.table, self.clock, self.chance),
            items=self.table,
            prepare=self._prepare,
            index=self._index,
            load_sink=lambda sink: sink,
            documents=SimulatedDocuments(self.server),
            dead_letters=self.letters,
            clock=self.clock,
            now=self.clock,
            sleep=self.clock.sleep,
        )
        self.deployment.prepare(self.stream, keys)

    @property
    def stream(self) -> Stream:
        return Stream.dynamodb(self.table.stream.arn)

    def _prepare(self, stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
        prepare(self.server, self.compiled, stream, self.targets, self.clock, self.clock.sleep)  # type: ignore[arg-type]
        return self.compiled

    def _index(self, mapping_of: Callable[[str], DocumentWriter]) -> Sink:
        return OpenSearchSink(self.server, mapping_of, self.targets)  # type: ignore[arg-type]

    def changes(self) -> list[Change]:
        """All that the stream has."""
        return [
            change_from_stream_record(dict(record.record), Stream.dynamodb(record.record["eventSourceARN"]))
            for shard in self.table.shards
            for record in shard.records
        ]

    def deliver(self) -> None:
        """Index what has not been indexed yet; rejected documents become letters."""
        changes = self.changes()[self.delivered :]
        self.delivered += len(changes)
        if not changes:
            return
        outcomes = self._index(lambda _table: self.compiled).write(changes, Deadline.after(60, clock=self.clock))
        for change, outcome in zip(changes, outcomes, strict=True):
            if isinstance(outcome, Rejected):
                self.letters.keep(letter_of(change, outcome, "opensearch", self.clock.utc()))

    def skip(self) -> None:
        """Lose what has not been indexed yet."""
        self.delivered = len(self.changes())

    def put(self, pk: str, sk: str = "x", **attributes: Any) -> None:
        self.table.put((pk, sk), attributes)

    def filled(self, items: int = 7) -> World:
        for number in range(items):
            self.put(f"item {number}", total=number, status="open")
        self.deliver()
        return self

    def plant(self, identifier: str, source: Any, version: int | None, index: str = "orders", **action: Any) -> None:
        """Write a document as another program would; without a version by OpenSearch's own."""
        about: dict[str, Any] = {"_index": index, "_id": identifier, **action}
        if version is not None:
            about |= {"version": version, "version_type": "external_gte"}
        body = b"\n".join([orjson.dumps({"index": about}), orjson.dumps(source), b""])
        answer = self.server.bulk(body=body)
        assert not answer["errors"], answer

    def remove(self, identifier: str, index: str = "orders", *, forgotten: bool = True) -> None:
        """Remove a document as another program would; OpenSearch forgets it at its next restart."""
        version = self.version(identifier, index)
        about = {"_index": index, "_id": identifier, "version": version, "version_type": "external_gte"}
        answer = self.server.bulk(body=orjson.dumps({"delete": about}) + b"\n")
        assert not answer["errors"], answer
        if forgotten:
            self.server.restart()

    def version(self, identifier: str, index: str = "orders") -> int:
        return self.server.documents(index)[identifier][0]

    def source(self, identifier: str, index: str = "orders") -> dict[str, Any]:
        return dict(self.server.documents(index)[identifier][1])

    def verify(self, **options: Any) -> Findings:
        self.clock.sleep(2)  # a scan sees all that was written by now
        return verify(self.deployment, "shop", **{"workers": 1, **options})

    def kinds(self, **options: Any) -> dict[str, int]:
        """The counts of a verification: empty where all is equal."""
        return self.verify(**options).counts


def as_json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
