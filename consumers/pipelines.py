"""Wiring: Settings → Pipeline, the one place where parts are joined."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cdc.deadline import Clock, Deadline
from cdc.delivery.age_limit import AgeLimit
from cdc.delivery.breaker import Breaker
from cdc.delivery.conflict_alarm import ConflictAlarm
from cdc.delivery.dead_lettering import Announcing, Keeping, S3DeadLetters
from cdc.delivery.fanout import Fanout
from cdc.delivery.missing_image import Current
from cdc.delivery.observed import Observed
from cdc.delivery.pipeline import Pipeline
from cdc.delivery.retrying import Retrying
from cdc.delivery.traced import Traced
from cdc.duration import seconds
from cdc.errors import ConfigError
from cdc.item_reader import DynamoDBItems, Items
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.locations import load_places
from cdc.mappings.model import TABLE, Mappings, TableMapping
from cdc.observer import UNOBSERVED, Observer
from cdc.records.change import StreamView
from cdc.records.sequence import Stream
from cdc.sinks import Sink
from cdc.sinks.opensearch.client import opensearch_client, within
from cdc.tracing import UNTRACED, Spans, opentelemetry_spans
from consumers.clients import LateClient, aws_client, check_credentials
from consumers.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from opensearchpy import OpenSearch

    from cdc.sinks.opensearch.indices import Targets

__all__ = ["Wiring", "dead_letters", "mappings_of", "wire"]

log = logging.getLogger(__name__)

Sleep = Callable[[float], None]

_ANNOUNCING_SECONDS = 3.0
"""For one message to SQS: it is not worth waiting for, the letter is kept all the same."""
_BETWEEN_SECONDS = 2.0
"""What a flush has beside its request: compressing, and other tables of the same batch."""


@dataclass(frozen=True)
class Wiring:
    """The clients of a process, and what every shard's pipeline is made of. Pipelines are cheap: one a shard."""

    settings: Settings
    mappings: Mappings
    functions: Sink | None
    opensearch: OpenSearch | None
    targets: Targets | None
    archive_client: S3Client | None
    dead_letters: S3DeadLetters | Announcing | None
    items: Items
    clock: Clock = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Sleep = time.sleep
    observer: Observer = UNOBSERVED
    spans: Spans = UNTRACED
    compiled: dict[str, CompiledMapping] = field(default_factory=dict)
    _prepared: set[tuple[str, str]] = field(default_factory=set)

    def prepare(
        self,
        stream: Stream,
        keys: Sequence[str],
        view: StreamView | None = None,
        *,
        remember: bool = True,
        deadline: Deadline | None = None,
    ) -> None:
        """Check the table's mapping against its key attributes and the stream's view, find or make its indices, and
        have them remember the stream (but for a redrive: a letter may be of a stream that is long gone). Once a stream
        and table.

        Raises:
            ConfigError: no mapping names the table, it does not fit its keys or the view, or an index holds what this
                stream would rank below.
            SinkMisconfigured: an index can't be made.
            SinkUnavailable: OpenSearch is out of reach.
        """
        if (stream.arn, stream.table) in self._prepared:
            return
        compiled = self.compiled.get(stream.table) or self._compile(stream.table, keys)
        if view is not None:
            _check_view(view, compiled.mapping, stream)
        if self.opensearch is not None and self.targets is not None:
            from cdc.sinks.opensearch.indices import prepare

            client = self.opensearch
            if deadline is not None:
                client = within(client, deadline, self.settings.opensearch_timeout_seconds)
            prepare(client, compiled, stream, self.targets, self.now, self.sleep, remember=remember)
        self.compiled[stream.table] = compiled
        if remember:
            self._prepared.add((stream.arn, stream.table))

    def _compile(self, table: str, keys: Sequence[str]) -> CompiledMapping:
        mapping = self.mappings.find(table)
        if mapping is None:  # with functions of the user's a table needs no mapping
            mapping = TableMapping(table, source="the functions") if self.functions else self.mappings.of(table)
        # a record does not say which key is the partition key: the order of their names is known everywhere
        compiled = compile_mapping(mapping, table, sorted(keys))
        for other in self.compiled.values():
            for owner in compiled.owners:
                if owner.index in other.bodies and TABLE not in owner.document.id:
                    raise ConfigError(
                        f"{mapping.source}: the tables {other.table!r} and {table!r} both write to {owner.index!r}: "
                        "items of equal keys would be one document",
                        remedy=f'Put the table in the id (id: ["{TABLE}", …]), or give each an index of its own.',
                    )
        return compiled

    @cached_property
    def invocations(self) -> Pipeline:
        """The pipeline of a Lambda's invocations, one after the other: what stands around its sinks remembers what
        happened in earlier ones."""
        return self.pipeline(punctual=True)

    @property
    def reserved_seconds(self) -> float:
        """What a punctual pipeline keeps of its time for what comes after the writes."""
        return self._letter_seconds + self._flush_seconds

    @property
    def _letter_seconds(self) -> float:
        """How long storing one dead letter may take, its announcement included."""
        announcing = _ANNOUNCING_SECONDS if isinstance(self.dead_letters, Announcing) else 0.0
        return 0.0 if self.dead_letters is None else self.settings.aws_timeout_seconds + announcing

    @property
    def _flush_seconds(self) -> float:
        """How long putting one object of the archive may take, and what comes between."""
        return 0.0 if self.archive_client is None else self.settings.aws_timeout_seconds + _BETWEEN_SECONDS

    def pipeline(self, sleep: Sleep | None = None, *, age_limited: bool = False, punctual: bool = False) -> Pipeline:
        """A pipeline for one shard. `sleep` is how it waits between attempts, else as all of the process.
        `age_limited`: what is deferred for too long becomes a dead letter (for Lambda the event source mapping does
        this). `punctual`: nothing is begun that may end after the deadline, and dead letters and archive have their
        share of the time."""
        sleep = sleep or self.sleep

        def durable(sink: Sink) -> Sink:
            return self._durable(sink, sleep, age_limited=age_limited, punctual=punctual)

        sinks: list[Sink] = []
        if self.opensearch is not None and self.targets is not None:
            sinks.append(Current(self.index(self.opensearch, self.targets, self.compiled.__getitem__), self.items))
        if self.functions is not None:
            sinks.append(self.functions)
        archive = self.archive(sleep, needs_seconds=self.settings.aws_timeout_seconds if punctual else 0.0)
        return Pipeline(
            Fanout(tuple(durable(sink) for sink in sinks), None if archive is None else durable(archive)),
            self.dead_letters,
            self.observer,
            letter_seconds=self._letter_seconds if punctual else 0.0,
            flush_seconds=self._flush_seconds if punctual else None,
        )

    def _durable(self, sink: Sink, sleep: Sleep, *, age_limited: bool, punctual: bool) -> Sink:
        """What stands around every sink, from the inside out."""
        sink = Retrying(
            sink, wait_max_seconds=self.settings.retry_wait_max_seconds, sleep=sleep, observer=self.observer
        )
        sink = ConflictAlarm(sink, started=self.now())
        if self.settings.on_mass_reject == "hold":
            sink = Breaker(sink)
        if age_limited:
            sink = AgeLimit(sink, seconds(self.settings.defer_max_age), clock=self.clock, now=self.now)
        sink = Keeping(
            sink,
            self.dead_letters,
            self._utc,
            self.observer,
            needs_seconds=self._letter_seconds if punctual else 0.0,
        )
        if self.spans is not UNTRACED:
            sink = Traced(sink, self.spans)
        return Observed(sink, self.observer, self.clock)

    def _utc(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    def index(self, client: OpenSearch, targets: Targets, mapping_of: Callable[[str], CompiledMapping]) -> Sink:
        """The index by these mappings, with nothing around it."""
        from cdc.sinks.opensearch.concurrency import InFlight
        from cdc.sinks.opensearch.sink import OpenSearchSink

        return OpenSearchSink(
            client=client,
            mapping_of=mapping_of,
            targets=targets,
            max_bytes=self.settings.bulk_bytes,
            max_count=self.settings.bulk_count,
            in_flight=InFlight(self.settings.bulks_in_flight),
            timeout_seconds=self.settings.opensearch_timeout_seconds,
            accept_milliseconds=self.settings.kinesis_precision == "millisecond",
            observer=self.observer,
        )

    def archive(self, sleep: Sleep = time.sleep, *, needs_seconds: float = 0.0) -> Sink | None:
        """The archive with nothing in it yet and nothing around it; None if there is none. `needs_seconds`: how long
        before a deadline it begins no more requests."""
        if self.archive_client is None or self.settings.archive_bucket is None:
            return None
        from cdc.sinks.archive_s3 import S3Archive

        return S3Archive(
            self.archive_client,
            self.settings.archive_bucket,
            lambda table: self.compiled[table].mapping,
            prefix=self.settings.archive_prefix,
            kms_key=self.settings.archive_kms_key,
            sleep=sleep,
            observer=self.observer,
            needs_seconds=needs_seconds,
        )


def _check_view(view: StreamView, mapping: TableMapping, stream: Stream) -> None:
    """Does the stream carry what the mapping compares?"""
    if view is not StreamView.NEW_AND_OLD_IMAGES and any(document.unless_only for document in mapping.documents):
        raise ConfigError(
            f"{mapping.source}: unless_only compares both images; the stream of {stream.table} has the view {view}",
            remedy="Disable the stream and enable it with NEW_AND_OLD_IMAGES: the old one is read to its end all the "
            "same. Or take unless_only out.",
        )


def wire(settings: Settings, *, functions: Sink | None = None, observer: Observer = UNOBSERVED) -> Wiring:
    """Read the mappings and make the clients that the settings ask for; `observer` is told what its pipelines do.
    Talks to nobody yet.

    Raises:
        ConfigError: settings or mappings are wrong, or nothing would be done.
    """
    spans = opentelemetry_spans() if settings.tracing else UNTRACED
    mappings = mappings_of(settings)
    indexed = any(file.documents for file in mappings.files)
    if indexed and settings.opensearch_endpoint is None:
        raise ConfigError(
            "the mappings name indices, and there is no OpenSearch to write them to",
            remedy="Set CDC_OPENSEARCH_ENDPOINT, or take `documents` out of the mappings.",
        )
    if not indexed and settings.archive_bucket is None and functions is None:
        raise ConfigError(
            "nothing would be done: no mapping names an index, and there is no archive",
            remedy="Add `documents` to a mapping, or set CDC_ARCHIVE_BUCKET.",
        )
    if settings.dead_letter_bucket is None:
        log.warning(
            "CDC_DEAD_LETTER_BUCKET is not set: a record that can't be written is never acknowledged "
            "and holds its shard until someone mends the cause"
        )
    opensearch: OpenSearch | None = None
    targets: Targets | None = None
    if indexed:
        from cdc.sinks.opensearch.indices import Targets

        opensearch, targets = opensearch_client(settings), Targets()
    archive = None
    if settings.archive_bucket is not None:
        archive = aws_client("s3", settings.archive_role_arn, settings.aws_timeout_seconds)
    return Wiring(
        settings,
        mappings,
        functions,
        opensearch,
        targets,
        archive,
        dead_letters(settings),
        _items(settings),
        observer=observer,
        spans=spans,
    )


def mappings_of(settings: Settings) -> Mappings:
    """What `CDC_MAPPINGS` names, read from files and from S3.

    Raises:
        ConfigError: they are wrong, or can't be read.
    """
    if settings.mappings == "none":
        return Mappings(())
    mappings = load_places(settings.mappings, lambda: aws_client("s3", None, settings.aws_timeout_seconds))
    for file in mappings.files:
        compile_mapping(file, file.table)  # a transform that can't be loaded is known now, not with the first record
    return mappings


def _items(settings: Settings) -> Items:
    client: Any = LateClient(lambda: aws_client("dynamodb", None, settings.aws_timeout_seconds))
    return DynamoDBItems(client, needs_seconds=settings.aws_timeout_seconds)


def dead_letters(settings: Settings) -> S3DeadLetters | Announcing | None:
    """Where dead letters are kept, and announced if there is a queue; None without a bucket.

    Raises:
        ConfigError: there are no AWS credentials.
    """
    if settings.dead_letter_bucket is None:
        return None
    if "AWS_ACCESS_KEY_ID" not in os.environ:  # as it is in every Lambda
        check_credentials()
    client: Any = LateClient(lambda: aws_client("s3", None, settings.aws_timeout_seconds))
    store = S3DeadLetters(client, settings.dead_letter_bucket, settings.dead_letter_prefix, settings.archive_kms_key)
    if not settings.dead_letter_queue_url:
        return store
    sqs: Any = LateClient(lambda: aws_client("sqs", None, _ANNOUNCING_SECONDS))
    return Announcing(store, sqs, settings.dead_letter_queue_url)
