"""Service: metrics and health of one consumer, joined and served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc.delivery.consumer_state import Running
from cdc.observer import UNOBSERVED, Observer
from consumers.clients import Clients
from consumers.http.health import Health
from consumers.http.probes import SinkProbes, probes_of
from consumers.settings import Settings

if TYPE_CHECKING:
    from consumers.http.metrics import Metrics

__all__ = ["Service", "service_of"]


@dataclass(frozen=True)
class Service:
    """Watches a consumer and answers for it over HTTP; does nothing where no port is set."""

    settings: Settings
    running: Running
    metrics: Metrics | None

    @property
    def observer(self) -> Observer:
        """To be told what the pipelines do."""
        return self.metrics or UNOBSERVED

    @contextmanager
    def serving(self, clients: Clients) -> Iterator[None]:
        """Serve as long as the block runs.

        Raises:
            ConfigError: the port can't be used, or a package is missing.
        """
        port = self.settings.http_port
        if self.metrics is None or port is None:
            yield
            return
        from consumers.http.app import application
        from consumers.http.server import serving

        probes = SinkProbes(probes_of(clients, self.settings), self._unclaimed)
        health = Health(self.running, probes.unreachable, probes.unclaimed_shards, self.settings.degraded_after_seconds)
        with serving(application(health, self.metrics.page), self.settings.http_host, port):
            probes.start(self.running.stop)
            yield

    def _unclaimed(self) -> int | None:
        """Asked only by a worker that has nothing to read: the lease table is read for it."""
        return None if self.running.shards or self.running.alive is None else self.running.unclaimed()


def service_of(settings: Settings, running: Running) -> Service:
    """The service that the settings ask for.

    Raises:
        ConfigError: a port is set, and a package is missing.
    """
    if settings.http_port is None:
        return Service(settings, running, None)
    from consumers.http.metrics import Metrics
    from consumers.kcl.java.jvm import heap_use

    # while the JVM starts it can't be asked
    return Service(settings, running, Metrics(running, lambda: None if running.alive is None else heap_use()))
