"""A runtime on simulated servers, joined as `open_runtime` joins one on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdc.mappings.model import Mappings
from cdc.observer import UNOBSERVED, Observer
from cdc.sinks import Sink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock
from cdc.tracing import UNTRACED, Spans
from consumers.clients import Clients
from consumers.pipelines import PipelineFactory
from consumers.preparation import TablePreparation
from consumers.runtime import Runtime, record_reader
from consumers.settings import Settings

__all__ = ["simulated_runtime"]


def simulated_runtime(
    settings: Settings,
    mappings: Mappings,
    clock: SimulatedClock,
    *,
    opensearch: Any = None,
    archive: Any = None,
    dead_letters: Any = None,
    items: Any = None,
    own: Callable[[], Sink] | None = None,
    observer: Observer = UNOBSERVED,
    spans: Spans = UNTRACED,
) -> Runtime:
    """The parts of a process whose servers and clock are these."""
    targets = Targets()
    clients = Clients(opensearch, archive, dead_letters, items)
    tables = TablePreparation(
        mappings,
        opensearch,
        targets,
        any_table=own is not None,
        now=clock,
        sleep=clock.sleep,
        on_changed_mapping=settings.on_changed_mapping,
    )
    pipelines = PipelineFactory(
        settings, clients, tables, targets, own, observer, spans, clock=clock, now=clock, sleep=clock.sleep
    )
    return Runtime(settings, mappings, clients, tables, pipelines, record_reader(settings))
