"""The KCL's own settings: which setting of ours goes to which of its configuration objects, under its own name."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from consumers.settings import Settings

__all__ = ["KNOBS", "KclSettings", "Knob", "apply_knobs", "kcl_settings"]


@dataclass(frozen=True, slots=True)
class Knob:
    """One of the KCL's settings. `local` is its value in the profile `local`; None there and unset: the KCL's own."""

    name: str
    """The field of `Settings`: the KCL's name in snake case behind `kcl_`."""
    config: str
    """The configuration object that has it; a dot leads to one within another."""
    local: int | bool | None = None
    boxed: bool = False
    """Java wants an object here."""

    @property
    def method(self) -> str:
        """The KCL's name, by which it is set."""
        first, *others = self.name.removeprefix("kcl_").split("_")
        return first + "".join(map(str.capitalize, others))


_HANDOFF = "lease.gracefulLeaseHandoffConfig"
_ASSIGNMENT = "lease.workerUtilizationAwareAssignmentConfig"

KNOBS = (
    Knob("kcl_failover_time_millis", "lease"),
    Knob("kcl_lease_assignment_interval_millis", "lease", 2000, boxed=True),
    Knob("kcl_dynamo_db_lock_based_leader_lease_duration_in_millis", "lease", 15_000),
    Knob("kcl_dynamo_db_lock_based_leader_heartbeat_period_in_millis", "lease", 3000),
    Knob("kcl_max_leases_for_worker", "lease"),
    Knob("kcl_max_lease_renewal_threads", "lease"),
    Knob("kcl_is_graceful_lease_handoff_enabled", _HANDOFF),
    Knob("kcl_graceful_lease_handoff_timeout_millis", _HANDOFF),
    Knob("kcl_disable_worker_metrics", _ASSIGNMENT, local=True),
    Knob("kcl_worker_metrics_reporter_freq_in_millis", _ASSIGNMENT),
    Knob("kcl_variance_balancing_frequency", _ASSIGNMENT),
    Knob("kcl_re_balance_threshold_percentage", _ASSIGNMENT),
    Knob("kcl_dampening_percentage", _ASSIGNMENT),
    Knob("kcl_parent_shard_poll_interval_millis", "coordinator", 1000),
    Knob("kcl_shard_consumer_dispatch_poll_interval_millis", "coordinator", 200),
    Knob("kcl_task_backoff_time_millis", "lifecycle", 200),
    Knob("kcl_idle_time_between_reads_in_millis", "polling", 200),
)


def _host() -> str:
    return socket.gethostname()


@dataclass(frozen=True, slots=True)
class KclSettings:
    """The KCL's settings. `application` names the lease table; `tuning` has values of knobs by their names."""

    application: str
    region: str
    worker_id: str = field(default_factory=_host)
    initial_position: Literal["TRIM_HORIZON", "LATEST"] = "TRIM_HORIZON"
    profile: Literal["local", "production"] = "production"
    max_records: int = 1000
    metrics_level: Literal["NONE", "SUMMARY", "DETAILED"] = "NONE"
    retrieval: Literal["polling", "fan_out"] = "polling"
    tuning: Mapping[str, int | bool] = field(default_factory=dict)
    jvm_heap: str = "512m"


def kcl_settings(settings: Settings, region: str) -> KclSettings:
    """The KCL's settings in the settings of a deployment."""
    level = settings.kcl_metrics_level or ("NONE" if settings.kcl_profile == "local" else "SUMMARY")
    set_ones = {knob.name: getattr(settings, knob.name) for knob in KNOBS}
    return KclSettings(
        application=settings.application,
        region=region,
        worker_id=settings.worker_id or _host(),
        initial_position=settings.initial_position,
        profile=settings.kcl_profile,
        max_records=settings.max_records,
        metrics_level=level,
        jvm_heap=settings.jvm_heap,
        retrieval=settings.kinesis_retrieval,
        tuning={name: value for name, value in set_ones.items() if value is not None},
    )


def apply_knobs(jpype: Any, settings: KclSettings, configs: Mapping[str, Any]) -> None:
    """Set on the KCL's configuration objects, given by the names that `KNOBS` has for them, what is set, or what the
    profile has. A configuration that is not there (fan-out does not poll) is passed over."""
    for knob in KNOBS:
        value = settings.tuning.get(knob.name, knob.local if settings.profile == "local" else None)
        name, _, within = knob.config.partition(".")
        config = configs.get(name)
        if value is None or config is None:
            continue
        if within:
            config = getattr(config, within)()
        getattr(config, knob.method)(jpype.JClass("java.lang.Long")(value) if knob.boxed else value)
