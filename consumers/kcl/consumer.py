"""The consumer: JVM, scheduler and shards joined; runs until a signal or a failure."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial

from cdc.errors import CdcError, ConfigError, ConsumerFailed, SinkMisconfigured
from cdc.sequence import Stream
from cdc.sources import read_adapter
from consumers.kcl.artifacts import kcl_jars
from consumers.kcl.jvm import start_jvm
from consumers.kcl.processor import make_factory
from consumers.kcl.scheduler import KclSettings, make_scheduler, sole_worker
from consumers.kcl.shard import BatchFacts, Running, ShardConsumer, ShardPipeline, ShardSettings

__all__ = ["run"]

log = logging.getLogger(__name__)


def _nobody(_facts: BatchFacts) -> None:
    """Nobody watches."""


def run(
    settings: KclSettings,
    shard_settings: ShardSettings,
    streams: Callable[[], Sequence[Stream]],
    pipeline_for: Callable[[Stream], ShardPipeline],
    *,
    running: Running,
    observe: Callable[[BatchFacts], None] = _nobody,
) -> None:
    """Consume `streams` until SIGTERM or SIGINT; then flush, checkpoint and give the leases up. A second signal ends
    the process at once: what was acknowledged is durable already.

    Raises:
        ConfigError: the set-up is wrong.
        SinkMisconfigured: a sink can't be used; nothing of what it refused is acknowledged.
        ConsumerFailed: a shard could not be handled; nothing of it is acknowledged.
    """
    with sole_worker(settings):
        _stop_on_signals(running)
        jpype = start_jvm(kcl_jars())
        _stop_on_signals(running)  # once more: the JVM's start replaces the handlers
        if running.stop.is_set():
            return
        names: dict[str, Stream] = {}

        def shard(stream: Stream, shard_id: str, lease_key: str) -> ShardConsumer:
            log.info("reading %s of %s", shard_id, stream.arn)
            return ShardConsumer(
                shard=shard_id,
                table=stream.table,
                pipeline=pipeline_for(stream),
                read=partial(read_adapter, stream=stream),
                settings=shard_settings,
                running=running,
                holds_lease=lambda: scheduler.holds_lease(lease_key),
                observe=observe,
            )

        factory = make_factory(jpype, names, shard, running.fail)
        try:
            scheduler = make_scheduler(jpype, settings, streams, factory, names)
        except jpype.JException as error:
            raise ConfigError(
                f"the KCL can't use its lease table {settings.application!r}: {error}",
                remedy="Allow dynamodb:CreateTable, DescribeTable, UpdateTable, GetItem, PutItem, UpdateItem, "
                "DeleteItem, Query and Scan on the tables whose names begin with it.",
            ) from error
        scheduler.start()
        log.info("consuming as worker %s of application %s", settings.worker_id, settings.application)
        while not running.stop.wait(0.2):
            if not scheduler.alive:
                running.fail(ConsumerFailed("the KCL's scheduler has ended by itself"))
        if not scheduler.stop(shard_settings.shutdown_seconds):
            log.warning(
                "the stop took longer than %.0f s: unacknowledged records come again", shard_settings.shutdown_seconds
            )
    if running.failure is not None:
        raise _translated(running.failure)


def _stop_on_signals(running: Running) -> None:
    def stop(number: int, _frame: object) -> None:
        if running.stop.is_set():
            sys.stderr.write("second signal: ending at once\n")
            sys.stderr.flush()
            import os

            os._exit(128 + number)
        running.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _translated(failure: BaseException) -> CdcError:
    if isinstance(failure, ConfigError | SinkMisconfigured | ConsumerFailed):
        return failure
    error = ConsumerFailed(
        f"a shard can't be handled: {type(failure).__name__}: {failure!s:.300}",
        remedy="Nothing of it was acknowledged: mend the cause and start again.",
    )
    error.__cause__ = failure
    return error
