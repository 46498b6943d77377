"""The KCL's scheduler: made, bootstrapped, started, stopped."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cdc.errors import ConfigError
from cdc.sequence import Stream

__all__ = ["KclSettings", "Scheduler", "make_scheduler", "sole_worker"]

log = logging.getLogger(__name__)

_ADAPTER = "com.amazonaws.services.dynamodbv2.streamsadapter."
_KINESIS = "software.amazon.kinesis."


def _host() -> str:
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class KclSettings:
    """What the KCL is told. `application` names the lease table."""

    application: str
    region: str
    worker_id: str = field(default_factory=_host)
    initial_position: Literal["TRIM_HORIZON", "LATEST"] = "TRIM_HORIZON"
    profile: Literal["local", "production"] = "production"
    max_records: int = 1000


@dataclass(frozen=True)
class Scheduler:
    """A scheduler that has been made; `java` is the KCL's, `clients` what it uses."""

    java: Any
    jpype: Any
    clients: tuple[Any, ...]
    thread: Any

    def start(self) -> None:
        """Start it on a Java thread."""
        self.thread.start()

    @property
    def alive(self) -> bool:
        """Does it run?"""
        return bool(self.thread.isAlive())

    def holds_lease(self, lease_key: str) -> bool:
        """Does this worker hold the lease, as far as it knows now?"""
        return self.java.leaseCoordinator().getCurrentlyHeldLease(lease_key) is not None

    def stop(self, seconds: float) -> bool:
        """Let every shard flush and checkpoint, give the leases up; False if that took longer."""
        unit = self.jpype.JClass("java.util.concurrent.TimeUnit").MILLISECONDS
        future = self.java.startGracefulShutdown()
        try:
            graceful = bool(future.get(int(seconds * 1000), unit))
        except self.jpype.JException as error:  # in time, or at all: what is not acknowledged comes again
            log.warning("the KCL did not end in order: %s", error.getClass().getName())
            graceful = False
            self.java.shutdown()
        self.thread.join(2000)
        for client in self.clients:
            client.close()
        return graceful


@dataclass(slots=True)
class _ShardSyncs:
    """The adapter's way of finding shards, for every stream that the KCL hears of.

    The KCL keeps what syncs a stream's shards in a public map, and makes what is not in it: KCL 3.5 by a method of its
    factory that the adapter 2.0.1 does not override, and what that makes can't list the shards of DynamoDB ("not
    implemented"): a stream that is found while running would never be read. So the map is filled first.
    """

    make: Callable[[Any], Any] | None = None
    managers: Any = None

    def see(self, config: Any) -> None:
        """To be called before the KCL gets to know the stream's config."""
        if self.make is not None and not self.managers.containsKey(config):
            self.managers.put(config, self.make(config))


@contextmanager
def sole_worker(settings: KclSettings) -> Iterator[None]:
    """Hold a lock of this host for application and worker id: two live workers of one id would share leases.

    Raises:
        ConfigError: another process on this host holds it.
    """
    name = re.sub(r"[^\w.-]", "_", f"dynamodb-cdc-{settings.application}-{settings.worker_id}")
    path = Path(tempfile.gettempdir()) / f"{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the lock file {path} can't be opened: {error}", remedy="Remove it, or set TMPDIR."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"a consumer of application {settings.application!r} with the worker id {settings.worker_id!r} "
                "runs on this host already",
                remedy="Give each consumer a CDC_WORKER_ID of its own.",
            ) from error
        yield
    finally:
        os.close(descriptor)


def make_scheduler(
    jpype: Any, settings: KclSettings, streams: Callable[[], Sequence[Stream]], factory: Any, names: dict[str, Stream]
) -> Scheduler:
    """A scheduler in multi-stream mode, even for one stream, so that lease keys never change.

    `streams` is asked again and again; `names` is kept up to date: the KCL's name of each stream.
    """
    java = jpype.JClass
    adapter_client, streams_client, dynamodb, cloudwatch = _clients(jpype, settings)
    from_latest: set[str] = set()
    syncs = _ShardSyncs()
    tracker = _tracker(jpype, streams, names, from_latest, syncs)
    builder = java(f"{_KINESIS}common.ConfigsBuilder")(
        tracker, settings.application, adapter_client, dynamodb, cloudwatch, settings.worker_id, factory
    )
    coordinator, lease = builder.coordinatorConfig(), builder.leaseManagementConfig()
    lifecycle, metrics = builder.lifecycleConfig(), builder.metricsConfig()
    processor, retrieval, checkpoint = builder.processorConfig(), builder.retrievalConfig(), builder.checkpointConfig()
    no_metrics = java(f"{_KINESIS}metrics.NullMetricsFactory")()
    metrics.metricsFactory(no_metrics)
    processor.callProcessRecordsEvenForEmptyRecordList(True)  # time passes also where nothing is written
    polling = java(f"{_ADAPTER}polling.DynamoDBStreamsPollingConfig")(adapter_client)
    polling.maxRecords(settings.max_records)
    coordinator.skipShardSyncAtWorkerInitializationIfLeasesExist(True)
    lease.shardSyncIntervalMillis(0)  # else the bootstrap's sync sleeps for that long
    if settings.profile == "local":
        lease.leaseAssignmentIntervalMillis(java("java.lang.Long")(2000))
        lease.workerUtilizationAwareAssignmentConfig().disableWorkerMetrics(True)
        coordinator.shardConsumerDispatchPollIntervalMillis(200)
        coordinator.parentShardPollIntervalMillis(1000)
        polling.idleTimeBetweenReadsInMillis(200)
        lifecycle.taskBackoffTimeMillis(200)
    retrieval.retrievalSpecificConfig(polling)
    leases = java(f"{_ADAPTER}DynamoDBStreamsLeaseManagementFactory")(adapter_client, lease, retrieval)
    refresher = _lease_table(leases)
    if settings.initial_position == "LATEST" and refresher.isLeaseTableEmpty():
        # a stream that is found later was made later: nothing of it may be passed over
        from_latest.update(stream.arn for stream in streams())
    deleted = java(f"{_KINESIS}coordinator.DeletedStreamListProvider")()

    def sync_manager(config: Any) -> Any:
        return leases.createShardSyncTaskManager(no_metrics, config, deleted)

    _bootstrap(refresher, tracker, sync_manager)
    scheduler = java(f"{_ADAPTER}StreamsSchedulerFactory").createScheduler(
        checkpoint, coordinator, lease, lifecycle, metrics, processor, retrieval, adapter_client
    )
    syncs.make, syncs.managers = sync_manager, scheduler.streamToShardSyncTaskManagerMap()
    tracker.streamConfigList()  # those that it knows already
    thread = java("java.lang.Thread")(scheduler, "kcl-scheduler")
    thread.setDaemon(True)
    return Scheduler(scheduler, jpype, (streams_client, dynamodb, cloudwatch), thread)


def _clients(jpype: Any, settings: KclSettings) -> tuple[Any, Any, Any, Any]:
    """The adapter's client, and the SDK's; credentials and endpoints by the SDK's own rules."""
    java = jpype.JClass
    region = java("software.amazon.awssdk.regions.Region").of(settings.region)

    def client(name: str, service: str) -> Any:
        builder = java(f"software.amazon.awssdk.services.{name}").builder().region(region)
        # the Java SDK does not read AWS_ENDPOINT_URL from every version on: say it
        endpoint = os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            builder = builder.endpointOverride(java("java.net.URI").create(endpoint))
        return builder.build()

    streams = client("dynamodb.streams.DynamoDbStreamsClient", "DYNAMODB_STREAMS")
    dynamodb = client("dynamodb.DynamoDbAsyncClient", "DYNAMODB")
    cloudwatch = client("cloudwatch.CloudWatchAsyncClient", "CLOUDWATCH")
    adapter = java(f"{_ADAPTER}AmazonDynamoDBStreamsAdapterClient")(streams, region)
    _never_skip(java, adapter)
    return adapter, streams, dynamodb, cloudwatch


def _never_skip(java: Any, adapter: Any) -> None:
    """Records that were trimmed are a gap to be seen; the adapter's default is to go on behind it."""
    behaviors = java(f"{_ADAPTER}AmazonDynamoDBStreamsAdapterClient$SkipRecordsBehavior")
    adapter.setSkipRecordsBehavior(behaviors.KCL_RETRY)


def _tracker(
    jpype: Any,
    streams: Callable[[], Sequence[Stream]],
    names: dict[str, Stream],
    from_latest: set[str],
    syncs: _ShardSyncs,
) -> Any:
    java = jpype.JClass
    positions = java(f"{_KINESIS}common.InitialPositionInStream")
    latest, oldest = (
        java(f"{_KINESIS}common.InitialPositionInStreamExtended").newInitialPosition(position)
        for position in (positions.LATEST, positions.TRIM_HORIZON)
    )
    keep_leases = java(f"{_KINESIS}processor.FormerStreamsLeasesDeletionStrategy$NoLeaseDeletionStrategy")()
    schedulers = java(f"{_ADAPTER}StreamsSchedulerFactory")

    def configs() -> Any:
        found = java("java.util.ArrayList")()
        for stream in streams():
            arns = java("java.util.ArrayList")()
            arns.add(stream.arn)
            position = latest if stream.arn in from_latest else oldest
            config = schedulers.createMultiStreamTracker(arns, position, keep_leases).streamConfigList().get(0)
            names[str(config.streamIdentifier().serialize())] = stream
            syncs.see(config)
            found.add(config)
        return found

    @jpype.JImplements(f"{_KINESIS}processor.MultiStreamTracker")
    class Tracker:
        @jpype.JOverride
        def streamConfigList(self) -> Any:  # noqa: N802  (Java's name)
            return configs()

        @jpype.JOverride
        def formerStreamsLeasesDeletionStrategy(self) -> Any:  # noqa: N802  (Java's name)
            return keep_leases

        @jpype.JOverride
        def isMultiStream(self) -> bool:  # noqa: N802  (Java's name)
            return True

        @jpype.JOverride
        def orphanedStreamInitialPositionInStream(self) -> Any:  # noqa: N802  (Java's name)
            return oldest

        @jpype.JOverride
        def createStreamConfig(self, identifier: Any) -> Any:  # noqa: N802  (Java's name)
            config = java(f"{_KINESIS}common.StreamConfig")(identifier, oldest)
            syncs.see(config)
            return config

    return Tracker()


def _lease_table(leases: Any) -> Any:
    """The lease table, made if it is not there.

    Raises:
        ConfigError: it does not become active.
    """
    refresher = leases.createLeaseRefresher()
    refresher.createLeaseTableIfNotExists()
    if not refresher.waitUntilLeaseTableExists(1, 300):
        raise ConfigError("the lease table does not become active", remedy="Look at it in DynamoDB's console.")
    refresher.createLeaseOwnerToLeaseKeyIndexIfNotExists()
    if not refresher.waitUntilLeaseOwnerToLeaseKeyIndexExists(1, 300):
        raise ConfigError("the lease table's index does not become active", remedy="Look at it in DynamoDB's console.")
    return refresher


def _bootstrap(refresher: Any, tracker: Any, sync_manager: Callable[[Any], Any]) -> None:
    """Make the leases of streams that have none, by the KCL's own calls: the scheduler would wait up to half a minute
    before it does the same.

    Raises:
        ConfigError: the shards can't be listed.
    """
    for config in tracker.streamConfigList():
        if refresher.listLeasesForStream(config.streamIdentifier()).isEmpty():
            result = sync_manager(config).callShardSyncTask()
            if result.getException() is not None:
                raise ConfigError(
                    f"the shards of {config.streamIdentifier().serialize()} can't be listed: {result.getException()}",
                    remedy="Allow dynamodb:DescribeStream, GetShardIterator and GetRecords on the stream.",
                )
