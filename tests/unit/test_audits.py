"""The audit inside the consumer: at its rate, only while the consumer is at its streams' tips, whatever fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tenacity

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.errors import ConfigError, SinkUnavailable
from cdc.verification.audit import Audit, AuditFigure
from consumers.http.health import Health
from consumers.http.metrics import Metrics
from consumers.kcl.audits import Audits
from tests.verifying import World


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "consumers.kcl.audits"]


def running_of(world: World, **shard: Any) -> Running:
    """A consumer that reads one shard and is at its tip."""
    running = Running(clock=world.clock, now=world.clock, alive=lambda: True)
    status = ShardStatus("arn", "shard-1", "shop", since=world.clock(), read_at=world.clock())
    for name, value in shard.items():
        setattr(status, name, value)
    running.shards["arn", "shard-1"] = status
    return running


def audits_of(world: World, running: Running, items_per_hour: int = 2000, **options: Any) -> Audits:
    world.clock.sleep(2)
    return Audits(running, [Audit(world.deployment, "shop", seed=1, **options)], items_per_hour)


@pytest.mark.parametrize(
    ("items", "at_once", "seconds"), [(2000, 50, 90), (50, 50, 3600), (10, 10, 3600), (36000, 50, 5)]
)
def test_the_rate_is_kept_by_small_looks(items: int, at_once: int, seconds: float) -> None:
    audits = Audits(Running(), [], items)
    assert (audits.items_at_once, audits.interval_seconds) == (at_once, seconds)


def test_it_begins_when_the_consumer_reads() -> None:
    world = World().filled()
    assert not audits_of(world, Running(clock=world.clock)).is_due()
    assert not audits_of(world, Running(clock=world.clock, alive=lambda: True)).is_due()
    assert not audits_of(world, running_of(world, read_at=None)).is_due()
    assert audits_of(world, running_of(world)).is_due()


def test_what_was_not_read_yet_is_no_drift() -> None:
    world = World().filled()
    assert not audits_of(world, running_of(world, millis_behind=120_000)).is_due()
    other_worker_is_dead = running_of(world)
    other_worker_is_dead.unread = lambda: 1
    assert not audits_of(world, other_worker_is_dead).is_due()
    repaired = running_of(world)
    repaired.repairing["shop"] = 1.0
    assert not audits_of(world, repaired).is_due()


def test_the_second_look_is_later_than_the_consumer_lags() -> None:
    world = World().filled()
    world.remove("item 3|x")
    running = running_of(world, millis_behind=40_000)
    (audit,) = (audits := audits_of(world, running)).audits
    began = world.clock()
    assert audits.looked(audit)
    assert world.clock() - began >= 45


def test_the_first_difference_is_logged_at_once_and_the_figure_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World().filled()
    (audit,) = (audits := audits_of(world, running_of(world))).audits
    audits.looked(audit)
    assert told(caplog) == []
    world.remove("item 3|x")
    for _ in range(3):
        audits.looked(audit)
    (first,) = told(caplog)
    assert first.levelname == "WARNING"
    assert "1 missing" in first.getMessage()
    world.clock.sleep(3600)
    audits.looked(audit)
    assert len(told(caplog)) == 2
    assert "item 3" not in caplog.text


def test_a_difference_that_was_mended_is_told_and_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World().filled()
    world.remove("item 3|x")
    (audit,) = (audits := audits_of(world, running_of(world), repair=True)).audits
    audits.looked(audit)
    (line,) = told(caplog)
    assert (line.levelname, "1 mended" in line.getMessage()) == ("INFO", True)


class Failing(Audit):
    """Fails as it is told, then looks."""

    failures: list[BaseException]

    def look(self, items: int, **options: Any) -> AuditFigure:
        if self.failures:
            raise self.failures.pop(0)
        return super().look(items, **options)


@pytest.mark.parametrize(
    "error", [SinkUnavailable("opensearch", "out of reach"), ConfigError("no right to scan"), ValueError("secret")]
)
def test_whatever_fails_it_warns_and_looks_again_later(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    world = World().filled()
    running = running_of(world)
    audit = Failing(world.deployment, "shop", seed=1)
    audit.failures = [error]
    world.clock.sleep(2)
    audits = Audits(running, [audit], 2000)
    assert not audits.looked(audit)
    assert "is tried again" in caplog.text
    assert "secret" not in caplog.text
    assert audits.looked(audit)
    assert running.audits["shop"].checked > 0


def test_the_figure_is_at_readyz_and_in_the_metrics() -> None:
    world = World().filled()
    world.remove("item 3|x")
    running = running_of(world)
    metrics, health = Metrics(running), Health(running, dict, lambda: 0, now=world.clock)
    assert "audit" not in health.ready().body
    (audit,) = (audits := audits_of(world, running)).audits
    audits.looked(audit)
    (shown,) = health.ready().body["audit"]
    assert health.ready().ok
    assert (shown["table"], shown["differences"], shown["counts"]) == ("shop", 1, {"missing": 1})

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"table": "shop", **labels})

    assert value("cdc_audit_differences_total", **{"class": "missing"}) == 1
    assert value("cdc_audit_differences_total", **{"class": "ghost"}) == 0
    assert value("cdc_audit_checked_total") == shown["checked"]
    assert value("cdc_audit_drift_ppm") == shown["drift_ppm"] > 0
    assert value("cdc_audit_drift_upper_ppm") == shown["drift_upper_ppm"] > shown["drift_ppm"]
    assert value("cdc_audit_repaired_total") == 0
    assert value("cdc_audit_read_units_total") == shown["read_units"] > 0


def test_the_thread_looks_while_the_consumer_reads_and_ends_with_it() -> None:
    world = World().filled()
    running = running_of(world)
    audits_of(world, running).start()
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_delay(30), wait=tenacity.wait_fixed(0.05)):
        with attempt:
            assert running.audits["shop"].looks == 1
    running.ask_stop()
