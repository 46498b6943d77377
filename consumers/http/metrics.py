"""Metrics: what the consumer does, in Prometheus's words. `docs/metrics.md` says what each is good for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, assert_never

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.errors import ConfigError
from cdc.observer import (
    ArchivedObject,
    BatchReceived,
    ChangesSettled,
    DeadLettered,
    Event,
    Flushed,
    LeftForLater,
    RecordsSettled,
    Retried,
    SetAside,
    VersionsTied,
    WriteTimed,
    Wrote,
)
from cdc.verification.findings import DifferenceClass
from consumers.kcl.java.jvm import HeapUse

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Histogram,
        ProcessCollector,
        disable_created_metrics,
        generate_latest,
    )
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigError(f"{error.name} is not installed", remedy="In a checkout: pip install '.[service]'") from error

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["Metrics"]

_BATCH = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_FLUSH = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """An observer that counts, and shows the shards as they are when it is asked. A registry of its own: nothing else
    of this process is in it."""

    def __init__(self, running: Running, heap: Callable[[], HeapUse | None] = lambda: None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, that nobody needs
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Shards(running, heap))
        self.registry.register(_Audits(running))
        self._records = self._counter("cdc_records", "Records that are settled.", "table")
        self._changes = self._counter("cdc_changes", "Changes that are settled.", "table", "operation")
        self._outcomes = self._counter("cdc_outcomes", "What became of changes in each sink.", "sink", "outcome")
        self._deferred = self._counter("cdc_deferred", "Changes that a write left for later, at each write.", "sink")
        self._retries = self._counter("cdc_retries", "Attempts that were made again.", "sink", "reason")
        self._letters = self._counter("cdc_dead_letters", "Dead letters that were stored.", "sink", "reason")
        self._archived_bytes = self._counter("cdc_archive_bytes", "Bytes written to the archive, compressed.")
        self._archived_objects = self._counter("cdc_archive_objects", "Objects written to the archive.")
        self._ties = self._counter("cdc_version_ties", "Records of one item that had equal versions.", "index")
        self._aside = self._counter(
            "cdc_set_aside", "Fields that the index refuses and that are set aside, by document.", "index", "name"
        )
        self._batch_seconds = Histogram(
            "cdc_batch_seconds",
            "From a batch's arrival, or its last part's settling, to its settling.",
            ["table"],
            buckets=_BATCH,
            registry=self.registry,
        )
        self._record_bytes = self._counter(
            "cdc_record_bytes", "Bytes of the settled records, as the stream has them.", "table"
        )
        self._left_by_core = self._counter(
            "cdc_records_left_by_core", "Records that the compiled core left to Python, wholly or in part.", "table"
        )
        self._write_seconds = Histogram(
            "cdc_write_seconds", "Writes, their retries included.", ["sink"], buckets=_BATCH, registry=self.registry
        )
        self._flush_seconds = Histogram(
            "cdc_flush_seconds", "Flushes that succeeded.", ["sink"], buckets=_FLUSH, registry=self.registry
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def page(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)

    def __call__(self, event: Event) -> None:  # noqa: PLR0912  (a table of cases)
        """Count an event."""
        match event:
            case RecordsSettled(table, records, seconds, size_bytes, left_by_core):
                self._records.labels(table).inc(records)
                self._record_bytes.labels(table).inc(size_bytes)
                self._left_by_core.labels(table).inc(left_by_core)
                self._batch_seconds.labels(table).observe(seconds)
            case ChangesSettled(table, operation, count):
                self._changes.labels(table, operation).inc(count)
            case Wrote(sink, outcomes):
                for outcome, count in outcomes.items():
                    self._outcomes.labels(sink, outcome).inc(count)
            case LeftForLater(sink, changes):
                self._deferred.labels(sink).inc(changes)
            case WriteTimed(sink, seconds):
                self._write_seconds.labels(sink).observe(seconds)
            case Retried(sink, reason):
                self._retries.labels(sink, reason).inc()
            case DeadLettered(sink, reason):
                self._letters.labels(sink, reason).inc()
            case ArchivedObject(size_bytes):
                self._archived_objects.inc()
                self._archived_bytes.inc(size_bytes)
            case VersionsTied(index):
                self._ties.labels(index).inc()
            case SetAside(index, name):
                self._aside.labels(index, name).inc()
            case Flushed(sink, seconds):
                self._flush_seconds.labels(sink).observe(seconds)
            case BatchReceived():
                pass  # a Lambda's: here the shards show the ages of theirs
            case _:
                assert_never(event)


class _Shards(Collector):
    """Made anew at each look: the series of a shard end with it."""

    def __init__(self, running: Running, heap: Callable[[], HeapUse | None]) -> None:
        self._running = running
        self._heap = heap

    def collect(self) -> Iterator[Metric]:
        """The registry asks for these."""
        now = self._running.clock()
        shards = list(self._running.shards.values())
        yield GaugeMetricFamily("cdc_leases_held", "Shards that this worker reads.", value=len(shards))
        yield _by_shard(
            "cdc_iterator_age_seconds", "Age of the oldest change not read.", shards, lambda one: one.age_seconds(now)
        )
        yield _by_shard(
            "cdc_until_loss_seconds",
            "Seconds until the stream forgets the oldest change not read.",
            shards,
            lambda one: max(0.0, self._running.retention_seconds - one.age_seconds(now)),
            worst=min,
        )
        yield _by_shard(
            "cdc_checkpoint_age_seconds",
            "How long the oldest record not yet checkpointed has waited for it.",
            shards,
            lambda one: max(0.0 if one.unflushed_since is None else now - one.unflushed_since, one.held_seconds(now)),
        )
        yield _by_shard(
            "cdc_held_seconds", "How long the shard has been held.", shards, lambda one: one.held_seconds(now)
        )
        heap = self._heap()
        if heap is not None:
            yield GaugeMetricFamily("cdc_jvm_heap_used_bytes", "The JVM's heap in use.", value=heap.used_bytes)
            yield GaugeMetricFamily("cdc_jvm_heap_max_bytes", "What the JVM's heap may grow to.", value=heap.max_bytes)


class _Audits(Collector):
    """The figures of the audits, as they are when they are asked for."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def collect(self) -> Iterator[Metric]:
        """The registry asks for these."""
        table = ["table"]
        checked = CounterMetricFamily("cdc_audit_checked", "Documents that were compared.", labels=table)
        differences = CounterMetricFamily(
            "cdc_audit_differences", "Differences that were confirmed.", labels=["table", "class"]
        )
        repaired = CounterMetricFamily("cdc_audit_repaired", "Differences that were mended.", labels=table)
        units = CounterMetricFamily("cdc_audit_read_units", "Read units that the audit took.", labels=table)
        drift = GaugeMetricFamily("cdc_audit_drift_ppm", "Documents that differ, per million.", labels=table)
        upper = GaugeMetricFamily(
            "cdc_audit_drift_upper_ppm", "No more than these differ, with 95 % confidence.", labels=table
        )
        for name, figure in sorted(self._running.audits.copy().items()):
            checked.add_metric([name], figure.checked)
            for kind in DifferenceClass:
                differences.add_metric([name, kind.value], figure.counts.get(kind.value, 0))
            repaired.add_metric([name], sum(figure.repaired.values()))
            units.add_metric([name], figure.read_units)
            drift.add_metric([name], figure.drift.ppm)
            upper.add_metric([name], figure.drift.upper_ppm)
        yield from (checked, differences, repaired, units, drift, upper)


def _by_shard(
    name: str,
    meaning: str,
    shards: list[ShardStatus],
    value: Callable[[ShardStatus], float],
    worst: Callable[[float, float], float] = max,
) -> Metric:
    """Two streams of one table may have shards of one name, in Kinesis: the worse is shown."""
    values: dict[tuple[str, str], float] = {}
    for shard in shards:
        key, found = (shard.table, shard.shard), value(shard)
        values[key] = worst(values[key], found) if key in values else found
    family = GaugeMetricFamily(name, meaning, labels=["table", "shard"])
    for labels, found in sorted(values.items()):
        family.add_metric(labels, found)
    return family
