"""The work of `cdc run`: settings and what to follow → a consumer that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import msgspec

from cdc.delivery.shard import BatchFacts, Running, ShardPipeline, ShardSettings
from cdc.errors import ConfigError
from cdc.observer import observe_all
from cdc.records.stream import Stream
from cdc.sinks import Sink
from consumers.http.monitoring import service_of
from consumers.http.probes import check_once, probes_of
from consumers.kcl.consumer import run
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.leases.lease_table import check_application
from consumers.kcl.progress import Progress
from consumers.kcl.sources.source import Source, follow_kinesis, follow_stream, follow_tables
from consumers.kcl.status_file import StatusFile, tell
from consumers.kcl.tuning import kcl_settings
from consumers.pipelines import CONSUMER
from consumers.runtime import Runtime, open_runtime
from consumers.settings import Settings

__all__ = ["Following", "serve"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Following:
    """The streams to follow: those of tables, one stream, or a Kinesis data stream."""

    tables: tuple[str, ...] = ()
    stream_arn: str | None = None
    kinesis_stream_arn: str | None = None

    @classmethod
    def of(
        cls, settings: Settings, tables: Sequence[str], stream_arn: str | None, kinesis_stream_arn: str | None
    ) -> Following:
        """The streams that the arguments name, else those of the settings.

        Raises:
            ConfigError: nothing is named, or more than one kind, or an ARN is of something else.
        """
        if not (tables or stream_arn or kinesis_stream_arn):
            tables = [name.strip() for name in (settings.tables or "").split(",") if name.strip()]
            kinesis_stream_arn = settings.kinesis_stream_arn
        if [bool(tables), bool(stream_arn), bool(kinesis_stream_arn)].count(True) != 1:
            raise ConfigError(
                "give --table or --stream-arn or --kinesis-stream-arn, one of the three",
                remedy="cdc run --help; or set CDC_TABLES or CDC_KINESIS_STREAM_ARN.",
            )
        if stream_arn:
            Stream.dynamodb(stream_arn)
        if kinesis_stream_arn:
            kinesis_stream_arn = Stream.kinesis(kinesis_stream_arn, "").arn
        return cls(tuple(tables), stream_arn, kinesis_stream_arn)

    def source(self) -> Source:
        """Look it up.

        Raises:
            ConfigError: it is not there, or AWS can't be asked.
        """
        if self.kinesis_stream_arn:
            return follow_kinesis(self.kinesis_stream_arn)
        return follow_stream(self.stream_arn) if self.stream_arn else follow_tables(self.tables)


def serve(settings: Settings, following: Following, status: StatusFile, own: Callable[[], Sink] | None = None) -> None:
    """Follow until a signal; see `consumers.kcl.consumer.run`. Metrics and health are served where a port is set.

    Raises:
        ConfigError: the set-up is wrong.
        SinkMisconfigured: a sink can't be used.
        SinkUnavailable: a sink is out of reach at the start; later that holds a shard.
        ConsumerFailed: AWS is out of reach at the start, or a shard can't be handled; nothing of it is acknowledged.
    """
    running = Running()
    service = service_of(settings, running)
    observer = observe_all(status, service.observer)
    progress = Progress(running)

    def pipeline_for() -> ShardPipeline:
        return runtime.pipelines.pipeline(CONSUMER, running.pause)

    def observe(facts: BatchFacts) -> None:
        status.batch(facts)
        progress.batch(facts)
        tell(observer, facts)

    if following.kinesis_stream_arn and settings.unmapped is None:
        settings = msgspec.structs.replace(settings, unmapped="skip")  # any table may join the stream, at any time
    with closing(open_runtime(settings, own=own, observer=observer)) as runtime, service.serving(runtime.clients):
        if runtime.clients.dead_letters is None:
            raise ConfigError(
                "the consumer has nowhere to keep records that can never be written",
                remedy="Set CDC_DEAD_LETTER_BUCKET.",
            )
        region = _region()
        source = following.source()
        running.retention_seconds = source.retention_seconds
        check_application(settings.application)
        check_once(probes_of(runtime.clients, settings))
        source.prepare(runtime)
        progress.start()
        _audit(runtime, running, source)
        run(
            kcl_settings(settings, region),
            ShardSettings(settings.flush_bytes, settings.flush_seconds, shutdown_seconds=settings.shutdown_seconds),
            source,
            runtime.records,
            pipeline_for,
            _gaps(runtime, running, source),
            running=running,
            observe=observe,
        )
        log.info("stopped: %d records settled", progress.total)


def _gaps(runtime: Runtime, running: Running, source: Source) -> Gaps:
    letters, on_gap = runtime.clients.letters, runtime.settings.on_gap
    if on_gap == "stop" or letters is None:
        return Gaps(running, None)
    if on_gap == "continue":
        return Gaps(running, runtime.clients.dead_letters)
    from cdc.verification.verify import verify
    from consumers.kcl.gap_repairs import GapRepairs
    from consumers.loading import deployment_of

    deployment = deployment_of(runtime)
    repairs = GapRepairs(
        running,
        letters,
        lambda table: verify(deployment, table, stream=source.stream_of(table), repair=True, max_repairs=None),
        source.tables_by_name(runtime),
    )
    repairs.start()
    return Gaps(running, runtime.clients.dead_letters, then=repairs.found)


def _audit(runtime: Runtime, running: Running, source: Source) -> None:
    """Audit the tables that have indices, if the settings ask for it."""
    settings = runtime.settings
    if not settings.audit_items_per_hour:
        return
    tables = [table for tables in source.tables_by_name(runtime).values() for table in tables]
    indexed = [table for table in tables if (mapping := runtime.mappings.find(table)) and mapping.documents]
    if not indexed:
        log.warning("CDC_AUDIT_ITEMS_PER_HOUR is set, and no mapping names an index for %s", ", ".join(tables))
        return
    from cdc.verification.audit import Audit
    from consumers.kcl.audits import Audits
    from consumers.loading import deployment_of

    deployment = deployment_of(runtime)
    repair = settings.audit_repair == "on"
    audits = [Audit(deployment, table, source.stream_of(table), repair=repair) for table in indexed]
    Audits(running, audits, settings.audit_items_per_hour).start()


def _region() -> str:
    import boto3

    region = boto3.Session().region_name
    if not region:
        raise ConfigError("there is no AWS region", remedy="Set AWS_REGION.")
    return region
