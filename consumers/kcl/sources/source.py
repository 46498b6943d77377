"""Sources of a consumer: tables, one stream of a table, or a Kinesis data stream that carries tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from cdc.delivery.consumer_state import RETENTION_SECONDS
from cdc.delivery.shard import Payload
from cdc.errors import ConfigError
from cdc.records.decoding import Record
from cdc.records.reading import RecordReader
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.sources.kinesis import KinesisStream, KinesisStreams, check_precision, describe_kinesis
from consumers.kcl.sources.streams import TableFacts, describe_stream, describe_table, watching
from consumers.kcl.tuning import KclSettings

if TYPE_CHECKING:
    from consumers.kcl.sources.retrieval import Retrieval
    from consumers.runtime import Runtime

__all__ = [
    "KinesisSource",
    "Source",
    "TableSource",
    "follow_kinesis",
    "follow_stream",
    "follow_tables",
    "follows_by_name",
]


class Source(Protocol):
    """Streams that are read, by their ARNs."""

    @property
    def retention_seconds(self) -> float:
        """How long the streams keep a record, as found at the start."""
        ...

    def streams(self) -> Sequence[str]:
        """All that there are now; asked again and again."""
        ...

    def follows(self, arn: str) -> bool:
        """Is the stream, found or not, one of this consumer's?"""
        ...

    def name(self, arn: str) -> str:
        """The name that people call the stream by: its table, or the Kinesis stream's name."""
        ...

    def tables_by_name(self, runtime: Runtime) -> dict[str, Sequence[str]]:
        """The tables that each name stands for, as far as they are known by name."""
        ...

    def stream_of(self, table: str) -> Stream | None:
        """The stream that carries a table's changes; None: the table's own that is on."""
        ...

    def reader(self, arn: str, records: RecordReader) -> Callable[[Sequence[Payload]], Sequence[Record]]:
        """The function that reads batches of the stream's records."""
        ...

    def retrieval(self, jpype: Any, settings: KclSettings, gaps: Gaps) -> Retrieval:
        """How the KCL gets them."""
        ...

    def prepare(self, runtime: Runtime) -> None:
        """Check at the start what can be known before the first record; see `TablePreparation.prepare`.

        Raises:
            ConfigError: it can't be followed as it is.
            SinkMisconfigured: an index can't be made.
            SinkUnavailable: OpenSearch is out of reach.
        """
        ...


@dataclass(frozen=True)
class TableSource:
    """Streams of tables: every one of each, old and new side by side, or those given where `watched` is empty."""

    facts: tuple[TableFacts, ...]
    watched: tuple[Callable[[], Sequence[Stream]], ...] = ()
    tables: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", frozenset(one.name for one in self.facts))

    @property
    def retention_seconds(self) -> float:
        """See `Source.retention_seconds`."""
        return RETENTION_SECONDS

    def streams(self) -> Sequence[str]:
        """See `Source.streams`."""
        if not self.watched:
            return [stream.arn for one in self.facts for stream in one.streams]
        return [stream.arn for streams in self.watched for stream in streams()]

    def follows(self, arn: str) -> bool:
        """See `Source.follows`."""
        return Stream.dynamodb(arn).table in self.tables if self.watched else arn in self.streams()

    def name(self, arn: str) -> str:
        """See `Source.name`."""
        return Stream.dynamodb(arn).table

    def tables_by_name(self, runtime: Runtime) -> dict[str, Sequence[str]]:
        """See `Source.tables_by_name`."""
        return {one.name: (one.name,) for one in self.facts}

    def stream_of(self, table: str) -> Stream | None:
        """See `Source.stream_of`."""
        return None

    def reader(self, arn: str, records: RecordReader) -> Callable[[Sequence[Payload]], Sequence[Record]]:
        """See `Source.reader`."""
        return partial(_read_adapter, records, Stream.dynamodb(arn))

    def retrieval(self, jpype: Any, settings: KclSettings, gaps: Gaps) -> Retrieval:
        """See `Source.retrieval`."""
        from consumers.kcl.sources.dynamodb import DynamoDBStreams

        return DynamoDBStreams(jpype, settings, gaps)

    def prepare(self, runtime: Runtime) -> None:
        """See `Source.prepare`."""
        for one in self.facts:
            for stream in reversed(one.streams):  # the newest first: an older one is welcome after it
                runtime.tables.prepare(stream, one.keys, one.view)


@dataclass(frozen=True)
class KinesisSource:
    """One Kinesis data stream. Which tables it carries is seen in its records: the mappings decide about them."""

    stream: KinesisStream

    @property
    def retention_seconds(self) -> float:
        """See `Source.retention_seconds`."""
        return self.stream.retention_hours * 3600.0

    def streams(self) -> Sequence[str]:
        """See `Source.streams`."""
        return [self.stream.arn]

    def follows(self, arn: str) -> bool:
        """See `Source.follows`."""
        return arn == self.stream.arn

    def name(self, _arn: str) -> str:
        """See `Source.name`."""
        return self.stream.name

    def tables_by_name(self, runtime: Runtime) -> dict[str, Sequence[str]]:
        """See `Source.tables_by_name`: those that a mapping names, and not by a pattern."""
        return {self.stream.name: _named(runtime)}

    def stream_of(self, table: str) -> Stream | None:
        """See `Source.stream_of`."""
        return Stream.kinesis(self.stream.arn, table)

    def reader(self, arn: str, records: RecordReader) -> Callable[[Sequence[Payload]], Sequence[Record]]:
        """See `Source.reader`."""
        return partial(_read_kinesis, records, arn)

    def retrieval(self, jpype: Any, settings: KclSettings, gaps: Gaps) -> Retrieval:
        """See `Source.retrieval`."""
        return KinesisStreams(jpype, settings, (self.stream,))

    def prepare(self, runtime: Runtime) -> None:
        """See `Source.prepare`: only the tables' precision can be asked for; the rest is done at their first record."""
        if runtime.settings.kinesis_precision == "microsecond":
            check_precision(self.stream.arn, _named(runtime))


def _named(runtime: Runtime) -> list[str]:
    return [file.table for file in runtime.mappings.files if not set(file.table) & set("*?[")]


def _read_adapter(records: RecordReader, stream: Stream, payloads: Sequence[Payload]) -> Sequence[Record]:
    return records.adapter([payload.data for payload in payloads], stream)


def _read_kinesis(records: RecordReader, arn: str, payloads: Sequence[Payload]) -> Sequence[Record]:
    sequences = [SequenceNumber.parse(payload.sequence, KINESIS_DIGITS) for payload in payloads]
    return records.kinesis([payload.data for payload in payloads], arn, sequences)


def follow_tables(tables: Sequence[str]) -> TableSource:
    """Every stream of each table, and those that come.

    Raises:
        ConfigError: a table can't be followed; names it.
    """
    facts = tuple(describe_table(table) for table in dict.fromkeys(tables))
    return TableSource(facts, tuple(watching(one.name, one.streams) for one in facts))


def follow_stream(arn: str) -> TableSource:
    """One stream of a table.

    Raises:
        ConfigError: there is no such stream.
    """
    return TableSource((describe_stream(arn),))


def follow_kinesis(arn: str) -> KinesisSource:
    """A Kinesis data stream that tables are joined to.

    Raises:
        ConfigError: there is no such stream.
    """
    if ":consumer/" in arn:
        raise ConfigError(f"{arn!r} is the ARN of a consumer, not of a stream", remedy="CDC_KINESIS_RETRIEVAL=fan_out")
    return KinesisSource(describe_kinesis(arn))


def follows_by_name(jpype: Any, source: Source, retrieval: Retrieval) -> Callable[[str], bool]:
    """Does the source follow the stream that the KCL calls by a name? A name of another kind of stream is followed by
    nobody here."""
    known: dict[str, bool] = {}

    def follows(name: str) -> bool:
        if name not in known:
            try:
                arn = retrieval.arn(name)
            except jpype.JException:
                arn = None
            known[name] = arn is not None and source.follows(arn)
        return known[name]

    return follows
