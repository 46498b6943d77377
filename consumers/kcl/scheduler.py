"""The KCL's scheduler: made, started, stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumers.kcl.leases.followed_leases import Follows, seeing_only
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.leases.handover import Times
from consumers.kcl.leases.lease_table import check_shards, lease_table, leases_of_children, make_leases, unclaimed
from consumers.kcl.leases.stream_tracker import StreamNames, make_tracker
from consumers.kcl.sources.retrieval import Retrieval, sdk_client
from consumers.kcl.sources.source import Source
from consumers.kcl.tuning import KclSettings, apply_knobs

__all__ = ["Scheduler", "make_scheduler"]

log = logging.getLogger(__name__)

_KINESIS = "software.amazon.kinesis."
_LOOK_SECONDS = 0.05
_THREAD_SECONDS = 2.0
"""How long the scheduler's thread may take to end, after all that matters is done."""


@dataclass(frozen=True)
class Scheduler:
    """A scheduler that has been made; `java` is the KCL's, `close` closes what it uses."""

    java: Any
    jpype: Any
    thread: Any
    close: Callable[[], None]
    unclaimed: Callable[[], int]
    """How many shards that are not at their end no worker has; it asks the lease table."""
    times: Times
    """How long the KCL's leader has the first say about leases."""
    most_leases: int
    """How many leases this worker may have."""

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
        """Let every shard flush and checkpoint, give the leases up; False if that took longer.

        Waits in Python: a signal's handler does not run while the main thread is in Java.
        """
        deadline = time.monotonic() + seconds
        future = self.java.startGracefulShutdown()
        while not future.isDone() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        try:
            graceful = bool(future.isDone() and future.get())
        except self.jpype.JException as error:  # what is not acknowledged comes again
            log.warning("the KCL did not end in order: %s", error.getClass().getName())
            graceful = False
        if not graceful:
            self.java.shutdown()
            return False
        deadline = min(deadline, time.monotonic() + _THREAD_SECONDS)
        while self.alive and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        self.close()
        return True


def make_scheduler(
    jpype: Any,
    settings: KclSettings,
    source: Source,
    retrieval: Retrieval,
    factory: Any,
    names: StreamNames,
    gaps: Gaps,
    follows: Follows,
) -> Scheduler:
    """A scheduler in multi-stream mode, even for one stream, so that lease keys never change.

    The source's streams are asked for again and again; `names` is kept up to date.

    Raises:
        ConfigError: the lease table, or a stream, can't be used.
        ConsumerFailed: a shard is gone, and the consumer is to stop then.
        SinkUnavailable: that could not be recorded.
    """
    java = jpype.JClass
    everything = sdk_client(jpype, settings.region, "dynamodb.DynamoDbAsyncClient", "DYNAMODB").build()
    dynamodb = seeing_only(jpype, everything, settings.application, follows)
    cloudwatch = sdk_client(jpype, settings.region, "cloudwatch.CloudWatchAsyncClient", "CLOUDWATCH").build()
    tracker = make_tracker(jpype, source.streams, names, retrieval)
    builder = java(f"{_KINESIS}common.ConfigsBuilder")(
        tracker, settings.application, retrieval.client, dynamodb, cloudwatch, settings.worker_id, factory
    )
    configs = {
        "checkpoint": builder.checkpointConfig(),
        "coordinator": builder.coordinatorConfig(),
        "lease": builder.leaseManagementConfig(),
        "lifecycle": builder.lifecycleConfig(),
        "metrics": builder.metricsConfig(),
        "processor": builder.processorConfig(),
        "retrieval": builder.retrievalConfig(),
    }
    specific = retrieval.specific()
    polls = hasattr(specific, "idleTimeBetweenReadsInMillis")
    apply_knobs(jpype, settings, {**configs, "polling": specific} if polls else configs)
    no_metrics = java(f"{_KINESIS}metrics.NullMetricsFactory")()
    if settings.metrics_level == "NONE":
        configs["metrics"].metricsFactory(no_metrics)
    else:
        level = java(f"{_KINESIS}metrics.MetricsLevel").valueOf(settings.metrics_level)
        configs["metrics"].metricsLevel(level)
    configs["processor"].callProcessRecordsEvenForEmptyRecordList(True)  # time passes also where nothing is written
    configs["coordinator"].skipShardSyncAtWorkerInitializationIfLeasesExist(True)
    configs["lease"].shardSyncIntervalMillis(0)  # else the sync below sleeps for that long
    configs["retrieval"].retrievalSpecificConfig(specific)
    leases = retrieval.leases(configs["lease"], configs["retrieval"])
    refresher = lease_table(leases)
    if settings.initial_position == "LATEST" and refresher.isLeaseTableEmpty():
        # a stream that is found later was made later: nothing of it may be passed over
        names.from_latest.update(source.streams())
    deleted = java(f"{_KINESIS}coordinator.DeletedStreamListProvider")()

    def sync_manager(config: Any) -> Any:
        return leases_of_children(jpype, leases.createShardSyncTaskManager(no_metrics, config, deleted))

    check_shards(refresher, retrieval, source.follows, source.name, gaps)
    scheduler = retrieval.scheduler(configs)
    make_leases(refresher, tracker.streamConfigList(), sync_manager)
    names.make_sync, names.syncs = sync_manager, scheduler.streamToShardSyncTaskManagerMap()
    tracker.streamConfigList()  # those that it knows already
    thread = java("java.lang.Thread")(scheduler, "kcl-scheduler")
    thread.setDaemon(True)

    def close() -> None:
        for client in (retrieval, dynamodb, cloudwatch):
            client.close()

    most = int(configs["lease"].maxLeasesForWorker())
    return Scheduler(scheduler, jpype, thread, close, lambda: unclaimed(refresher), _times(configs["lease"]), most)


def _times(lease: Any) -> Times:
    """By the KCL's intervals: its leader assigns leases, and another leader comes when one is silent."""
    assigning = float(lease.leaseAssignmentIntervalMillis()) / 1000
    leading = float(lease.dynamoDbLockBasedLeaderLeaseDurationInMillis()) / 1000
    expiring = float(lease.failoverTimeMillis()) / 1000
    return Times(assigning, unowned_seconds=3 * assigning, silent_seconds=leading + 3 * expiring)
