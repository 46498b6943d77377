"""Metrics: what the consumer does, in Prometheus's words. `docs/metrics.md` says what each is good for."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.errors import ConfigError
from cdc.observer import Observer
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
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigError(f"{error.name} is not installed", remedy="In a checkout: pip install '.[service]'") from error

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["Metrics"]

_BATCH = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_FLUSH = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics(Observer):
    """An observer that counts, and shows the shards as they are when it is asked. A registry of its own: nothing else
    of this process is in it."""

    def __init__(self, running: Running, heap: Callable[[], HeapUse | None] = lambda: None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter, that nobody needs
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_Shards(running, heap))
        self._records = self._counter("cdc_records", "Records that are settled.", "table")
        self._changes = self._counter("cdc_changes", "Changes that are settled.", "table", "operation")
        self._outcomes = self._counter("cdc_outcomes", "What became of changes in each sink.", "sink", "outcome")
        self._deferred = self._counter("cdc_deferred", "Changes that a write left for later, at each write.", "sink")
        self._retries = self._counter("cdc_retries", "Attempts that were made again.", "sink", "reason")
        self._letters = self._counter("cdc_dead_letters", "Dead letters that were stored.", "sink", "reason")
        self._archived_bytes = self._counter("cdc_archive_bytes", "Bytes written to the archive, compressed.")
        self._archived_objects = self._counter("cdc_archive_objects", "Objects written to the archive.")
        self._ties = self._counter("cdc_version_ties", "Records of one item that had equal versions.", "index")
        self._batch_seconds = Histogram(
            "cdc_batch_seconds",
            "From a batch's arrival, or its last part's settling, to its settling.",
            ["table"],
            buckets=_BATCH,
            registry=self.registry,
        )
        self._record_bytes = self._counter("cdc_record_bytes", "Their bytes, as the stream has them.", "table")
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

    def settled(self, table: str, records: int, seconds: float, size_bytes: int = 0) -> None:
        """See `Observer.settled`."""
        self._records.labels(table).inc(records)
        self._record_bytes.labels(table).inc(size_bytes)
        self._batch_seconds.labels(table).observe(seconds)

    def changed(self, table: str, operation: str, count: int) -> None:
        """See `Observer.changed`."""
        self._changes.labels(table, operation).inc(count)

    def wrote(self, sink: str, outcomes: Tally[str]) -> None:
        """See `Observer.wrote`."""
        for outcome, count in outcomes.items():
            self._outcomes.labels(sink, outcome).inc(count)

    def deferred(self, sink: str, changes: int) -> None:
        """See `Observer.deferred`."""
        self._deferred.labels(sink).inc(changes)

    def took(self, sink: str, seconds: float) -> None:
        """See `Observer.took`."""
        self._write_seconds.labels(sink).observe(seconds)

    def retried(self, sink: str, reason: str) -> None:
        """See `Observer.retried`."""
        self._retries.labels(sink, reason).inc()

    def kept(self, sink: str, reason: str) -> None:
        """See `Observer.kept`."""
        self._letters.labels(sink, reason).inc()

    def archived(self, size_bytes: int) -> None:
        """See `Observer.archived`."""
        self._archived_objects.inc()
        self._archived_bytes.inc(size_bytes)

    def tied(self, index: str) -> None:
        """See `Observer.tied`."""
        self._ties.labels(index).inc()

    def flushed(self, sink: str, seconds: float) -> None:
        """See `Observer.flushed`."""
        self._flush_seconds.labels(sink).observe(seconds)


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
