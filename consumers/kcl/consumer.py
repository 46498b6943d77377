"""The consumer: JVM, scheduler and shards joined; runs until a signal or a failure."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cdc.delivery.shard import BatchFacts, Running, ShardConsumer, ShardPipeline, ShardSettings
from cdc.errors import CdcError, ConfigError, ConsumerFailed, SinkMisconfigured
from cdc.records.reading import RecordReader
from consumers.exit_codes import FAILED, after_signal, exit_code_of
from consumers.gc_tuning import collect_seldom
from consumers.kcl.java.artifacts import kcl_jars
from consumers.kcl.java.jvm import start_jvm
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.leases.handover import Handover
from consumers.kcl.leases.host_lock import sole_worker
from consumers.kcl.leases.lease_table import refused
from consumers.kcl.leases.stream_tracker import StreamNames
from consumers.kcl.processor import make_factory
from consumers.kcl.scheduler import Scheduler, make_scheduler
from consumers.kcl.sources.source import Source, follows_by_name
from consumers.kcl.sources.streams import client_of
from consumers.kcl.tuning import KclSettings

__all__ = ["run"]

log = logging.getLogger(__name__)

_OVERTIME_SECONDS = 3.0
"""A stop may take so long beyond its budget before the process ends all the same."""


def _nobody(_facts: BatchFacts) -> None:
    """Nobody watches."""


def run(
    settings: KclSettings,
    shard_settings: ShardSettings,
    source: Source,
    records: RecordReader,
    pipeline_for: Callable[[], ShardPipeline],
    gaps: Gaps,
    *,
    running: Running,
    observe: Callable[[BatchFacts], None] = _nobody,
) -> None:
    """Consume `source` until SIGTERM or SIGINT; then flush, checkpoint and give the leases up, all within
    `shutdown_seconds` from the signal on. A second signal ends the process at once: what was acknowledged is durable
    already.

    Raises:
        ConfigError: the set-up is wrong.
        SinkMisconfigured: a sink can't be used; nothing of what it refused is acknowledged.
        ConsumerFailed: a shard could not be handled; nothing of it is acknowledged.
    """
    with sole_worker(settings.application, settings.worker_id), _stopping_on_signals(running) as install:
        jpype = start_jvm(kcl_jars(), settings.jvm_heap)
        install()  # once more: the JVM's start replaces the handlers
        if running.stop.is_set():
            return
        collect_seldom()
        names = StreamNames()

        def shard(arn: str, shard_id: str, lease_key: str) -> ShardConsumer | None:
            if not source.follows(arn):
                return None
            log.info("%s: reading %s of the stream %s", source.name(arn), shard_id, arn.rpartition("/")[2])
            return ShardConsumer(
                shard=shard_id,
                table=source.name(arn),
                pipeline=pipeline_for(),
                read=source.reader(arn, records),
                settings=shard_settings,
                running=running,
                holds_lease=lambda: scheduler.holds_lease(lease_key),
                observe=observe,
                stream=arn,
                left_by_core=records.left,
            )

        try:
            retrieval = source.retrieval(jpype, settings, gaps)
            factory = make_factory(jpype, retrieval, names, shard, running, shard_settings.shutdown_seconds)
            follows = follows_by_name(jpype, source, retrieval)
            scheduler = make_scheduler(jpype, settings, source, retrieval, factory, names, gaps, follows)
        except jpype.JException as error:
            raise refused(error, settings.application) from error
        if not running.stop.is_set():
            handover = Handover(
                client_of("dynamodb"),
                settings.application,
                settings.worker_id,
                follows,
                scheduler.times,
                scheduler.most_leases,
            )
            _follow(scheduler, handover, settings, running, shard_settings.shutdown_seconds)
    if running.failure is not None:
        raise _translated(running.failure)


def _follow(
    scheduler: Scheduler, handover: Handover, settings: KclSettings, running: Running, budget_seconds: float
) -> None:
    scheduler.start()
    handover.start(running.stop)
    running.alive, running.unclaimed = lambda: scheduler.alive, scheduler.unclaimed
    running.unread = lambda: handover.unread
    log.info("consuming as worker %s of application %s", settings.worker_id, settings.application)
    while not running.stop.wait(0.2):
        if not scheduler.alive:
            running.fail(ConsumerFailed("the KCL's scheduler has ended by itself"))
    _stop(scheduler, running, budget_seconds)


def _stop(scheduler: Scheduler, running: Running, budget_seconds: float) -> None:
    log.info("stopping: flush, checkpoint, give the leases up, within %g s", budget_seconds)
    left = max(budget_seconds - running.stopping_seconds(), 0.1)
    # a request that hangs, or a thread that waits for one, must not hold the end up: an orchestrator would kill us
    overtime = threading.Timer(left + _OVERTIME_SECONDS, _end_at_once, (running,))
    overtime.daemon = True
    overtime.start()
    if not scheduler.stop(left):
        log.warning("the stop took longer than %g s: unacknowledged records come again", budget_seconds)


def _end_at_once(running: Running) -> None:
    sys.stderr.write("the stop's budget is used up: ending at once; unacknowledged records come again\n")
    failure = None if running.failure is None else _translated(running.failure)
    if failure is not None:
        sys.stderr.write(f"error: {failure}\n")
    sys.stderr.flush()
    os._exit(exit_code_of(failure) or FAILED)


@contextmanager
def _stopping_on_signals(running: Running) -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT ask for a stop, a second one ends the process."""

    signals: list[int] = []

    def stop(number: int, _frame: object) -> None:
        signals.append(number)
        if len(signals) > 1:
            sys.stderr.write("second signal: ending at once\n")
            sys.stderr.flush()
            os._exit(after_signal(number))
        running.ask_stop()

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    install()
    yield install


def _translated(failure: BaseException) -> CdcError:
    if isinstance(failure, ConfigError | SinkMisconfigured | ConsumerFailed):
        return failure
    error = ConsumerFailed(
        f"a shard can't be handled: {type(failure).__name__}: {failure!s:.300}",
        remedy="Nothing of it was acknowledged: mend the cause and start again.",
    )
    error.__cause__ = failure
    return error
