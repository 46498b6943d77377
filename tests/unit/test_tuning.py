"""The KCL's settings: each reaches its configuration under the KCL's own name; profiles have values of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from consumers.kcl.tuning import KNOBS, apply_knobs, kcl_settings
from consumers.settings import Settings, describe, load_settings


class Config:
    """A configuration object of Java's: methods set values, or lead to another."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> Any:
            if given:
                self.values[name] = given[0]
                return self
            return self.values.setdefault(name, Config())

        return call


class Jpype:
    """Boxes what Java wants boxed."""

    @staticmethod
    def JClass(name: str) -> Any:  # noqa: N802  (jpype's name)
        return lambda value: (name, value)


def applied(environment: Mapping[str, str]) -> dict[str, Any]:
    configs = {name: Config() for name in ("lease", "coordinator", "lifecycle", "polling")}
    apply_knobs(Jpype(), kcl_settings(load_settings(environment), "eu-west-1"), configs)
    return {
        f"{name}.{method}": value.values if isinstance(value, Config) else value
        for name, config in configs.items()
        for method, value in config.values.items()
    }


def test_every_setting_of_the_kcl_is_a_knob_and_every_knob_a_setting() -> None:
    names = {setting["name"].lower().removeprefix("cdc_") for setting in describe()}
    knobs = {name for name in names if name.startswith("kcl_")} - {"kcl_profile", "kcl_metrics_level"}
    assert knobs == {knob.name for knob in KNOBS}
    assert all(getattr(Settings(), knob.name) is None for knob in KNOBS)


def test_the_production_profile_leaves_the_kcls_own_values() -> None:
    assert applied({}) == {}


def test_the_local_profile_is_impatient() -> None:
    found = applied({"CDC_KCL_PROFILE": "local"})
    assert found["coordinator.parentShardPollIntervalMillis"] == 1000
    assert found["lease.leaseAssignmentIntervalMillis"] == ("java.lang.Long", 2000)
    assert found["lease.workerUtilizationAwareAssignmentConfig"] == {"disableWorkerMetrics": True}


def test_a_setting_goes_before_the_profile() -> None:
    found = applied(
        {
            "CDC_KCL_PROFILE": "local",
            "CDC_KCL_FAILOVER_TIME_MILLIS": "30000",
            "CDC_KCL_IDLE_TIME_BETWEEN_READS_IN_MILLIS": "500",
            "CDC_KCL_IS_GRACEFUL_LEASE_HANDOFF_ENABLED": "false",
        }
    )
    assert found["lease.failoverTimeMillis"] == 30000
    assert found["polling.idleTimeBetweenReadsInMillis"] == 500
    assert found["lease.gracefulLeaseHandoffConfig"] == {"isGracefulLeaseHandoffEnabled": False}


def test_what_does_not_poll_takes_no_settings_of_polling() -> None:
    configs = {name: Config() for name in ("lease", "coordinator", "lifecycle")}
    apply_knobs(Jpype(), kcl_settings(load_settings({"CDC_KCL_PROFILE": "local"}), "eu-west-1"), configs)
    assert configs["lifecycle"].values == {"taskBackoffTimeMillis": 200}


@pytest.mark.parametrize(
    ("environment", "level"),
    [({}, "SUMMARY"), ({"CDC_KCL_PROFILE": "local"}, "NONE"), ({"CDC_KCL_METRICS_LEVEL": "DETAILED"}, "DETAILED")],
    ids=["production", "local", "set"],
)
def test_the_kcls_own_metrics_are_sparing(environment: Mapping[str, str], level: str) -> None:
    assert kcl_settings(load_settings(environment), "eu-west-1").metrics_level == level
