"""Metrics: each moves with what it is named for, in few series, and the documentation names them all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from cdc import Applied, Deadline, Deferred, Outcome, Rejected, Skipped
from cdc.causes import Cause, CauseKind
from cdc.dead_letters.letter import DeadLetter
from cdc.delivery.shard import Payload, Running, ShardConsumer, ShardSettings
from cdc.errors import SinkUnavailable
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.observer import LeftForLater, SetAside, VersionsTied
from cdc.records.change import Change
from cdc.records.decoding import read_adapter
from cdc.records.stream import Stream
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import (
    STREAM_ARN,
    ScriptedSink,
    SimulatedClock,
    SimulatedOpenSearch,
    SimulatedS3,
    change,
    stream_record,
)
from cdc.verification.audit import AuditFigure
from consumers.http.metrics import Metrics
from consumers.kcl.java.jvm import HeapUse
from consumers.kcl.status_file import tell
from consumers.pipelines import CONSUMER
from consumers.settings import load_settings
from tests.runtimes import simulated_runtime

ROOT = Path(__file__).parents[2]
STREAM = Stream.dynamodb(STREAM_ARN)
DAY = 24 * 3600


@dataclass
class Letters:
    """A dead-letter store in memory, that fails as often as told."""

    failures: int = 0
    kept: list[DeadLetter] = field(default_factory=list)

    def keep(self, letter: DeadLetter) -> None:
        if self.failures:
            self.failures -= 1
            raise SinkUnavailable("dead letters", "no bucket")
        self.kept.append(letter)


class Pausing(Running):
    """The state that shards share; a pause is what `on_pause` does."""

    on_pause: Callable[[float], object]

    def pause(self, seconds: float) -> None:
        self.on_pause(seconds)


class World:
    """A shard on a pipeline whose one sink does as `answers` says, before an archive, on a simulated clock."""

    def __init__(self, answers: Callable[[Change], Outcome] = lambda _: Applied()) -> None:
        self.clock = SimulatedClock()
        self.running = Pausing(clock=self.clock)
        self.running.on_pause = self.clock.sleep
        self.metrics = Metrics(self.running, lambda: HeapUse(used_bytes=10, max_bytes=100))
        self.letters = Letters()
        self.s3 = SimulatedS3(self.clock)
        self.held = True
        sink = ScriptedSink(answers, name="functions")
        runtime = simulated_runtime(
            load_settings({"CDC_ARCHIVE_BUCKET": "archive", "CDC_MAPPINGS": "none"}),
            Mappings(()),
            self.clock,
            archive=self.s3,
            dead_letters=self.letters,
            own=lambda: sink,
            observer=self.metrics,
        )
        self.shard = ShardConsumer(
            shard="shard-1",
            table="shop",
            pipeline=runtime.pipelines.pipeline(CONSUMER),
            read=lambda payloads: [read_adapter(payload.data, STREAM) for payload in payloads],
            settings=ShardSettings(flush_seconds=60, pause_seconds=0, pause_max_seconds=0),
            running=self.running,
            holds_lease=lambda: self.held,
            observe=lambda facts: tell(self.metrics, facts),
            clock=self.clock,
            stream=STREAM_ARN,
        )

    def process(self, *payloads: Payload, millis_behind: int = 0) -> None:
        self.shard.process(payloads, lambda _: None, millis_behind)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


SHARD = {"table": "shop", "shard": "shard-1"}


def record(number: int, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None) -> Payload:
    return Payload(orjson.dumps(stream_record({"pk": f"k{number}"}, before, after, sequence=number)))


def script(*outcomes: Outcome) -> Callable[[Change], Outcome]:
    """One after the other, then Applied."""
    left = iter(outcomes)
    return lambda _: next(left, Applied())


def test_records_and_changes_are_counted_by_table_and_operation_once_they_are_settled() -> None:
    world = World()
    world.process(record(1, None, {}), record(2, {}, {"n": 1}), record(3, {}, None), Payload(b"no record"))
    assert world.value("cdc_records_total", table="shop") == 4
    assert world.value("cdc_changes_total", table="shop", operation="INSERT") == 1
    assert world.value("cdc_changes_total", table="shop", operation="MODIFY") == 1
    assert world.value("cdc_changes_total", table="shop", operation="REMOVE") == 1


def test_outcomes_are_counted_by_sink() -> None:
    world = World(script(Applied(), Skipped("no"), Rejected(Cause("never"))))
    world.process(*(record(number, None, {}) for number in (1, 2, 3)))
    assert world.value("cdc_outcomes_total", sink="functions", outcome="applied") == 1
    assert world.value("cdc_outcomes_total", sink="functions", outcome="skipped") == 1
    assert world.value("cdc_outcomes_total", sink="functions", outcome="rejected") == 1
    assert world.value("cdc_outcomes_total", sink="archive", outcome="applied") == 3


def test_a_retry_is_counted_once_for_each_attempt_and_reason() -> None:
    busy = Deferred(Cause("OpenSearch: 429 x", CauseKind.OVERLOADED, "rejected_execution_exception"))
    world = World(script(busy, busy, Deferred(Cause("the index orders has vanished", CauseKind.INDEX_VANISHED)), busy))
    world.process(record(1, None, {}), record(2, None, {}), record(3, None, {}))
    assert world.value("cdc_retries_total", sink="functions", reason="rejected_execution_exception") == 2
    assert world.value("cdc_retries_total", sink="functions", reason="index_vanished") == 1


def test_what_a_write_leaves_for_later_is_counted_and_timed_with_its_waits() -> None:
    world = World(
        script(
            Deferred(Cause("OpenSearch: 429 busy_exception"), 10.0),
            Deferred(Cause("OpenSearch: 429 busy_exception"), 10),
        )
    )
    world.process(record(1, None, {}))
    assert world.value("cdc_deferred_total", sink="functions") == 1
    assert world.value("cdc_write_seconds_count", sink="functions") == 2
    assert world.value("cdc_write_seconds_sum", sink="functions") == pytest.approx(10)


def test_the_bytes_of_settled_records_are_those_of_the_stream() -> None:
    world = World()
    world.process(record(1, None, {}), record(2, None, {}))
    size = stream_record({"pk": "k1"}, None, {})["dynamodb"]["SizeBytes"]
    assert world.value("cdc_record_bytes_total", table="shop") == 2 * size


def test_what_was_not_tried_is_no_retry() -> None:
    world = World(
        script(
            Deferred(Cause("x raised KeyError, attempt 1 of 3", CauseKind.FUNCTION_FAILED)),
            Deferred.untried("behind it"),
        )
    )
    world.process(record(1, None, {}), record(2, None, {}))
    assert world.value("cdc_retries_total", sink="functions", reason="function_raised") == 1
    assert world.value("cdc_retries_total", sink="functions", reason="other") is None


def test_a_dead_letter_that_could_not_be_stored_is_a_retry_and_then_a_letter() -> None:
    world = World(
        lambda _: Rejected(Cause("OpenSearch: 400 x", CauseKind.DOCUMENT_REFUSED, "mapper_parsing_exception"))
    )
    world.letters.failures = 1
    world.process(record(1, None, {}))
    assert world.value("cdc_retries_total", sink="functions", reason="dead_letter_not_stored") == 1
    assert world.value("cdc_dead_letters_total", sink="functions", reason="mapper_parsing_exception") == 1
    assert len(world.letters.kept) == 1


def test_each_document_that_is_rejected_and_each_record_that_cannot_be_read_is_a_dead_letter() -> None:
    cause = Cause("a_function rejected it", CauseKind.FUNCTION_REJECTED)
    other = Rejected(cause, document="b/1")
    world = World(script(Rejected(cause, document="a/1", others=(other,))))
    world.process(Payload(b"no record"), record(1, None, {}))
    assert world.value("cdc_dead_letters_total", sink="functions", reason="function_rejected") == 2
    assert world.value("cdc_dead_letters_total", sink="source", reason="unreadable_record") == 1
    assert len(world.letters.kept) == 3


def test_the_archive_s_objects_and_bytes_are_those_in_the_bucket() -> None:
    world = World()
    world.process(record(1, None, {"text": "x" * 1000}))
    assert world.value("cdc_archive_objects_total") == 0
    world.clock.sleep(60)
    world.process()
    (entry,) = world.s3.list_objects_v2(Bucket="archive", Prefix="")["Contents"]
    body = world.s3.get_object(Bucket="archive", Key=entry["Key"])["Body"].read()
    assert world.value("cdc_archive_objects_total") == 1
    assert world.value("cdc_archive_bytes_total") == len(body)
    assert world.value("cdc_flush_seconds_count", sink="archive") == 1


def test_a_batch_takes_the_time_of_its_waits() -> None:
    world = World(
        script(
            Deferred(Cause("OpenSearch: 429 busy_exception"), 40.0), Deferred(Cause("OpenSearch: 429 busy_exception"))
        )
    )
    world.process(record(1, None, {}))
    assert world.value("cdc_batch_seconds_count", table="shop") == 1
    assert world.value("cdc_batch_seconds_sum", table="shop") == pytest.approx(world.clock() - SimulatedClock()())


def test_the_loss_clock_runs_also_while_nothing_is_read() -> None:
    world = World()
    world.process(millis_behind=3_600_000)
    assert world.value("cdc_iterator_age_seconds", **SHARD) == 3600
    assert world.value("cdc_until_loss_seconds", **SHARD) == DAY - 3600
    world.clock.sleep(600)
    assert world.value("cdc_iterator_age_seconds", **SHARD) == 4200
    world.process(millis_behind=0)
    assert world.value("cdc_until_loss_seconds", **SHARD) == DAY
    world.clock.sleep(2 * DAY)
    assert world.value("cdc_until_loss_seconds", **SHARD) == 0


def test_the_loss_clock_is_that_of_the_stream_s_own_retention() -> None:
    world = World()
    world.running.retention_seconds = 7 * DAY
    world.process(millis_behind=1000)
    assert world.value("cdc_until_loss_seconds", **SHARD) == 7 * DAY - 1


def test_the_checkpoint_s_age_is_that_of_what_waits_for_it() -> None:
    world = World()
    world.clock.sleep(500)
    assert world.value("cdc_checkpoint_age_seconds", **SHARD) == 0
    world.process(record(1, None, {}))
    world.clock.sleep(59)
    assert world.value("cdc_checkpoint_age_seconds", **SHARD) == 59
    world.clock.sleep(1)
    world.process()
    assert world.value("cdc_checkpoint_age_seconds", **SHARD) == 0


def test_a_held_shard_shows_for_how_long() -> None:
    world = World(lambda _: Deferred(Cause("OpenSearch: 400 index_closed_exception")))
    seen: list[float | None] = []

    def pause(_seconds: float) -> None:
        world.clock.sleep(30)
        seen.append(world.value("cdc_held_seconds", **SHARD))
        world.held = len(seen) < 3

    world.running.on_pause = pause
    world.process(record(1, None, {}))
    assert seen[0] == 30
    assert len(seen) == 3
    assert seen == sorted(seen, key=lambda one: one or 0)


def test_series_of_a_shard_end_with_it() -> None:
    world = World()
    world.process(record(1, None, {}))
    assert b'shard="shard-1"' in world.metrics.page()
    assert world.value("cdc_leases_held") == 1
    world.shard.lease_lost()
    assert b'shard="shard-1"' not in world.metrics.page()
    assert world.value("cdc_leases_held") == 0


def test_the_heap_is_shown() -> None:
    world = World()
    assert world.value("cdc_jvm_heap_used_bytes") == 10
    assert world.value("cdc_jvm_heap_max_bytes") == 100


def test_version_ties_are_counted_by_index() -> None:
    world = World()
    compiled = compile_mapping(parse_mapping("table: shop\ndocuments: [{index: orders}]", source="t"), "shop", ["pk"])
    client: Any = SimulatedOpenSearch(world.clock)
    sink = OpenSearchSink(client, lambda _: compiled, Targets({"orders": True}), observer=world.metrics)
    tied = [change({"pk": "a"}, None, {}, sequence=10**20 + number) for number in (1, 2)]
    assert tied[0].version == tied[1].version
    sink.write(tied, Deadline.after(1, clock=world.clock))
    assert world.value("cdc_version_ties_total", index="orders") == 1


def test_a_thousand_different_causes_make_few_series() -> None:
    numbers = iter(range(10_000))

    def answer(_change: Change) -> Outcome:
        number = next(numbers)
        return Rejected(Cause(f"the field secret-{number} is not wanted")) if number % 2 else Applied()

    world = World(answer)
    for first in range(0, 1000, 10):
        world.process(*(record(first + number, None, {}) for number in range(10)))
    page = world.metrics.page().decode()
    assert world.value("cdc_dead_letters_total", sink="functions", reason="other") == 500
    assert len([line for line in page.splitlines() if line.startswith("cdc_") and "_bucket" not in line]) < 40
    assert "secret" not in page


def test_the_documentation_names_every_metric_with_its_labels_and_no_other() -> None:
    world = World(script(Deferred(Cause("busy")), Rejected(Cause("no"))))
    world.process(record(1, None, {}))
    world.clock.sleep(60)
    world.process()  # a flush
    world.metrics(VersionsTied("orders"))
    world.metrics(SetAside("orders", "data"))
    world.metrics(LeftForLater("functions", 1))
    world.running.audits["shop"] = AuditFigure("shop", world.clock.utc())
    in_code: dict[str, tuple[str, ...]] = {}
    for family in world.metrics.registry.collect():
        if family.name.startswith("cdc_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            in_code[name] = tuple(sorted(labels))
    rows = re.findall(
        r"^\| `(cdc_\w+)` \| ([\w, ]*?) ?\| \S", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    in_text = {name: tuple(sorted(filter(None, labels.split(", ")))) for name, labels in rows}
    assert in_code == in_text


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    world = World()
    world.process(record(1, None, {}))
    known = {
        family.name + suffix
        for family in world.metrics.registry.collect()
        for suffix in ("", "_total", "_bucket")
    }  # fmt: skip
    dashboard = json.loads((ROOT / "deploy/observe/grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b(?:cdc|process)_\w+", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= known


def test_prometheus_scrapes_every_replica_behind_the_consumer_s_name() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy/observe/prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (by_dns,) = job["dns_sd_configs"]
    assert (by_dns["names"], by_dns["type"], by_dns["port"]) == (["consumer"], "A", 9464)
