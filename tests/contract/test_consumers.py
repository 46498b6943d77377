"""Both consumers promise the same: equal changes in, equal documents, archive and dead letters out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest

from cdc.archive import read_archive
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.delivery.shard import Running, ShardConsumer, ShardSettings
from cdc.errors import ConfigError
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.testing import (
    SimulatedClock,
    SimulatedEventSourceMapping,
    SimulatedKcl,
    SimulatedKinesis,
    SimulatedOpenSearch,
    SimulatedS3,
    SimulatedShard,
    SimulatedStop,
    SimulatedTable,
    SimulatedWorker,
)
from cdc.testing.simulated.batches import BatchRules
from consumers.aws_lambda.changes import ChangesFunction
from consumers.kcl.sources.kinesis import KinesisStream
from consumers.kcl.sources.source import KinesisSource, Source, TableSource
from consumers.kcl.sources.streams import TableFacts
from consumers.pipelines import CONSUMER
from consumers.runtime import Runtime
from consumers.settings import load_settings
from local.event_source_mapping import LocalEventSourceMapping
from local.lambda_here import CHANGES
from tests.runtimes import simulated_runtime

if TYPE_CHECKING:
    from local.emulator import LambdaFunction

STREAMS = pytest.mark.parametrize("kind", ["simulated dynamodb streams", "simulated kinesis"])
CONSUMERS = pytest.mark.parametrize("consumer", ["simulated lambda", "simulated kcl"])
SETTINGS = load_settings(
    {
        "CDC_OPENSEARCH_ENDPOINT": "http://simulated",
        "CDC_ARCHIVE_BUCKET": "archive",
        "CDC_DEAD_LETTER_BUCKET": "letters",
    }
)
MAPPING = """
table: shop
documents:
  - index: orders
    where: {status: [{anything-but: draft}]}
    body: {mappings: {properties: {poison: {type: date}}}}
    on_unfit: dead_letter
  - {index: drafts, where: {status: [draft]}, on_remove: tombstone}
"""
DIGITS = 12345678901234567890123456789012345678


@pytest.fixture(autouse=True, params=["auto", "off"], ids=["core where there is one", "without the core"])
def read_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", msgspec.structs.replace(SETTINGS, core=request.param))


@dataclass
class Deployment:
    """A table or its Kinesis stream, and servers of its own that one consumer writes to."""

    kind: str
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    chance: random.Random = field(default_factory=lambda: random.Random(3))  # noqa: S311  (no secret)
    mapping: str = MAPPING
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.server = SimulatedOpenSearch(self.clock, rejects=_refused)
        self.s3 = SimulatedS3(self.clock)
        self.table = SimulatedTable("shop", self.clock, self.chance, shards=2)
        self.kinesis = SimulatedKinesis(self.clock, self.chance, disorder=0.0, duplicates=0.0)
        self.table.listen(self.kinesis.deliver)

    @property
    def sharded(self) -> SimulatedTable | SimulatedKinesis:
        return self.kinesis if "kinesis" in self.kind else self.table

    @property
    def source(self) -> Source:
        if "kinesis" in self.kind:
            return KinesisSource(KinesisStream(self.kinesis.arn, "shop", self.clock.utc(), 24))
        stream = Stream.dynamodb(self.table.stream.arn)
        return TableSource((TableFacts("shop", self.table.keys, (stream,), StreamView.NEW_AND_OLD_IMAGES),))

    def runtime(self) -> Runtime:
        """The parts of a process."""
        return simulated_runtime(
            SETTINGS,
            Mappings((parse_mapping(self.mapping, source="shop.yml"),)),
            self.clock,
            opensearch=self.server,
            archive=self.s3,
            dead_letters=S3DeadLetters(self.s3, "letters", at_once=1),  # type: ignore[arg-type]
            items=self.table,
        )

    def by_lambda(self) -> None:
        """Invoke the handler until all is acknowledged."""
        mapping = SimulatedEventSourceMapping(
            ChangesFunction(self.runtime()),
            self.sharded,
            self.clock,
            self.chance,
            batch_size=7,
        )
        while mapping.step():
            pass
        self.acknowledged = mapping.drained and not mapping.on_failure and not mapping.lost

    def by_kcl(self) -> None:
        """Run a worker until all is acknowledged, or it failed."""
        kcl = SimulatedKcl(self.sharded, [], self.clock, self.chance, max_batch=7)
        runtime, source = self.runtime(), self.source
        running = Running(stop=SimulatedStop(kcl.pause_now), clock=self.clock)

        def shard(arn: str, shard_id: str, holds_lease: Callable[[], bool]) -> ShardConsumer:
            return ShardConsumer(
                shard=shard_id,
                table=source.name(arn),
                pipeline=runtime.pipelines.pipeline(CONSUMER, kcl.pause_now),
                read=source.reader(arn, runtime.records),
                settings=ShardSettings(flush_seconds=5.0),
                running=running,
                holds_lease=holds_lease,
                observe=lambda _facts: None,
                clock=self.clock,
                stream=arn,
            )

        kcl.start(SimulatedWorker("worker", shard))
        while not kcl.finished and running.failure is None:
            kcl.step()
        self.acknowledged, self.failure = kcl.finished, running.failure

    def consume(self, consumer: str) -> None:
        """Let one of the two do its work."""
        self.by_kcl() if "kcl" in consumer else self.by_lambda()

    def out(self) -> dict[str, Any]:
        """All that it made, with nothing that tells the two apart: when, in what wire shape, in which objects."""
        return {
            "documents": {index: self.server.documents(index) for index in ("orders", "drafts")},
            **stored(self.s3, "archive", "letters"),
        }


def stored(s3: Any, archive: str, letters_bucket: str) -> dict[str, Any]:
    """The contents of these buckets of a consumer's."""
    archived = read_archive(s3, archive, "cdc", "shop")
    letters = S3DeadLetters(s3, letters_bucket)
    keys = letters.keys()
    kept = [letter for key in keys if (letter := letters.read(key)) is not None]
    return {
        "archive": sorted((one.identity, one.line) for one in archived),
        "letters": sorted(
            (one.table, one.sink, one.document, one.reason, one.operation, one.version, one.sequence, one.expired)
            for one in kept
        ),
    }


def _refused(source: Any) -> str | None:
    return "mapper_parsing_exception" if "poison" in source else None


def write(table: SimulatedTable) -> None:
    """Inserts, changes, moves between indices, removals, expiry, values that are hard, and one the index refuses."""
    for number in range(60):
        key = (f"k{number % 9}", "x")
        status = ("paid", "draft", "sent")[number % 3]
        table.put(key, {"n": number, "status": status, "total": DIGITS, "tags": {"b", "a"}, "raw": b"\x00\x01"})
        if number % 13 == 12:
            table.delete(key)
        if number % 17 == 16:
            table.expire(key)
        if number == 30:
            table.put(("poisoned", "x"), {"poison": True, "status": "paid"})


def unreadable(shard: SimulatedShard) -> None:
    """Take the keys out of the shard's last record."""
    last = shard.records[-1]
    record, data = orjson.loads(orjson.dumps(last.record)), orjson.loads(last.payload)
    record.get("dynamodb", {}).pop("Keys", None)
    data["dynamodb"].pop("Keys")
    if "kinesis" in record:
        from base64 import b64encode

        record["kinesis"]["data"] = b64encode(orjson.dumps(data)).decode()
    shard.records[-1] = replace(last, record=record, data=orjson.dumps(data))


@STREAMS
def test_the_same_changes_make_the_same_documents_archive_and_dead_letters(kind: str) -> None:
    made = []
    for consumer in ("lambda", "kcl"):
        deployment = Deployment(kind)
        write(deployment.table)
        unreadable(deployment.sharded.shards[0])
        deployment.consume(consumer)
        assert deployment.acknowledged
        made.append(deployment.out())
    by_lambda, by_kcl = made
    assert by_kcl == by_lambda
    assert len(by_kcl["letters"]) == 2


@STREAMS
@CONSUMERS
def test_documents_and_archive_are_what_the_table_says(kind: str, consumer: str) -> None:
    deployment = Deployment(kind)
    write(deployment.table)
    deployment.consume(consumer)
    out, table = deployment.out(), deployment.table
    standing = {f"{item['pk']['S']}|x": item for item in table.items.values() if "poison" not in item}
    for index, statuses in (("orders", {"paid", "sent"}), ("drafts", {"draft"})):
        numbers = {
            id_: source["n"] for id_, (_, source) in out["documents"][index].items() if "_cdc_tombstone" not in source
        }
        wanted = {id_: int(item["n"]["N"]) for id_, item in standing.items() if item["status"]["S"] in statuses}
        assert numbers == wanted
    identities = [one.kinesis_identity if "kinesis" in kind else one.identity for one in table.history]
    assert [identity for identity, _ in out["archive"]] == sorted(identities)
    assert [letter[:4] for letter in out["letters"]] == [
        ("shop", "opensearch", "orders/poisoned|x", "OpenSearch: 400 mapper_parsing_exception")
    ]


@STREAMS
@CONSUMERS
def test_everything_again_changes_nothing(kind: str, consumer: str) -> None:
    deployment = Deployment(kind)
    write(deployment.table)
    deployment.consume(consumer)
    first = deployment.out()
    for again in ("lambda", "kcl"):
        deployment.consume(again)
        assert deployment.out() == first


@STREAMS
@CONSUMERS
def test_a_sink_that_is_down_for_a_while_loses_nothing(kind: str, consumer: str) -> None:
    whole, deployment = Deployment(kind), Deployment(kind)
    write(whole.table)
    whole.consume(consumer)
    write(deployment.table)
    deployment.runtime().tables.prepare(
        Stream.kinesis(deployment.kinesis.arn, "shop")
        if "kinesis" in kind
        else Stream.dynamodb(deployment.table.stream.arn),
        deployment.table.keys,
    )
    deployment.server.restart(45.0)
    deployment.consume(consumer)
    assert deployment.acknowledged
    assert deployment.out() == whole.out()


@CONSUMERS
def test_a_table_that_no_mapping_names_is_never_acknowledged(consumer: str) -> None:
    deployment = Deployment("simulated kinesis", mapping=MAPPING.replace("table: shop", "table: another"))
    write(deployment.table)
    deployment.consume(consumer)
    assert not deployment.acknowledged
    if "kcl" in consumer:
        assert isinstance(deployment.failure, ConfigError)
        assert "'shop'" in deployment.failure.message
    assert deployment.s3.puts == []


@dataclass
class Polled:
    """A stream in memory, for the local event source mapping."""

    source: SimulatedTable | SimulatedKinesis

    @property
    def shards(self) -> Sequence[SimulatedShard]:
        return self.source.shards

    def poll(self) -> None:
        """All is there."""


@pytest.mark.parametrize("kind", ["dynamodb streams", "kinesis"], ids=["dynamodb streams, real", "kinesis, real"])
def test_lambdas_own_runtime_on_real_servers_makes_the_same_as_the_kcl_on_simulated_ones(
    kind: str,
    in_lambda: Callable[..., LambdaFunction],
    aws: Any,
    opensearch: Any,
    bucket: str,
    tmp_path: Path,
) -> None:
    opensearch.indices.delete(index="orders-v1,drafts-v1", params={"ignore_unavailable": "true"})
    (tmp_path / "shop.yml").write_text(MAPPING)
    deployment = Deployment(kind)
    write(deployment.table)
    unreadable(deployment.sharded.shards[0])
    function = in_lambda(
        CHANGES,
        {
            "CDC_MAPPINGS": str(tmp_path / "shop.yml"),
            "CDC_ARCHIVE_BUCKET": bucket,
            "CDC_DEAD_LETTER_BUCKET": bucket,
        },
    )
    for _ in range(2):  # everything again changes nothing
        mapping = LocalEventSourceMapping(
            function.invoke, Polled(deployment.sharded), BatchRules(batch_size=7), now=deployment.clock
        )
        while mapping.step():
            pass
        assert mapping.counts["invoked"] == mapping.counts["succeeded"]
    made = {
        "documents": {index: documents(opensearch, f"{index}-v1") for index in ("orders", "drafts")},
        **stored(aws("s3"), bucket, bucket),
    }
    deployment.by_kcl()
    assert made == deployment.out()
    assert len(made["letters"]) == 2


def documents(opensearch: Any, index: str) -> dict[str, tuple[int, Any]]:
    """Each document's version and source by id."""
    opensearch.indices.refresh(index=index)
    hits = opensearch.search(index=index, params={"size": 1000, "version": "true"})["hits"]["hits"]
    return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}
