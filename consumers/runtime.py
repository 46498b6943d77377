"""Runtime: the parts of one process, joined by its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdc.core import load_core
from cdc.errors import ConfigError
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.locations import load_places
from cdc.mappings.model import Mappings
from cdc.observer import UNOBSERVED, Observer
from cdc.records.reading import RecordReader
from cdc.sinks import Sink
from cdc.tracing import UNTRACED, opentelemetry_spans
from consumers.clients import Clients, aws_client, open_clients
from consumers.pipelines import PipelineFactory
from consumers.preparation import TablePreparation
from consumers.settings import PREFIX, Settings

if TYPE_CHECKING:
    from cdc.sinks.opensearch.targets import Targets

__all__ = ["Runtime", "load_mappings", "open_runtime", "record_reader"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """The settings, mappings, clients, tables and pipelines of a process."""

    settings: Settings
    mappings: Mappings
    clients: Clients
    tables: TablePreparation
    pipelines: PipelineFactory
    records: RecordReader

    def close(self) -> None:
        """Close the clients."""
        self.clients.close()


def open_runtime(
    settings: Settings, *, own: Callable[[], Sink] | None = None, observer: Observer = UNOBSERVED
) -> Runtime:
    """Read the mappings and open the clients that the settings ask for. No server but S3 is asked yet.

    Args:
        own: makes the sink of the user's functions, or gives a sink of the user's own.

    Raises:
        ConfigError: settings or mappings are wrong, or nothing would be done.
    """
    spans = opentelemetry_spans() if settings.tracing else UNTRACED
    mappings = load_mappings(settings)
    indexed = any(file.documents for file in mappings.files)
    if indexed and settings.opensearch_endpoint is None:
        raise ConfigError(
            "the mappings name indices, and there is no OpenSearch to write them to",
            remedy="Set CDC_OPENSEARCH_ENDPOINT, or take `documents` out of the mappings.",
        )
    if not indexed and settings.archive_bucket is None and own is None:
        raise ConfigError(
            "nothing would be done: no mapping names an index, and there is no archive",
            remedy="Add `documents` to a mapping, or set CDC_ARCHIVE_BUCKET.",
        )
    targets: Targets | None = None
    if indexed:
        from cdc.sinks.opensearch.targets import Targets

        targets = Targets()
    clients = open_clients(settings, indexed=indexed)
    tables = TablePreparation(
        mappings,
        clients.opensearch,
        targets,
        any_table=own is not None,
        skip_unmapped=settings.unmapped == "skip",
        request_seconds=settings.opensearch_timeout_seconds,
        on_changed_mapping=settings.on_changed_mapping,
    )
    pipelines = PipelineFactory(settings, clients, tables, targets, own, observer, spans)
    return Runtime(settings, mappings, clients, tables, pipelines, record_reader(settings))


def record_reader(settings: Settings) -> RecordReader:
    """Reads records by the core, where there is one and the settings let it; says once which of both it is."""
    core = load_core() if settings.core == "auto" else None
    log.info("records are read by %s", "Python alone" if core is None else "the compiled core")
    return RecordReader(core)


def load_mappings(settings: Settings) -> Mappings:
    """The mappings that `CDC_MAPPINGS` names, read from files and from S3.

    Raises:
        ConfigError: they are wrong, or can't be read.
    """
    if settings.mappings == "none":
        return Mappings(())
    mappings = load_places(
        settings.mappings, lambda: aws_client("s3", None, settings.aws_timeout_seconds), called=f"{PREFIX}MAPPINGS"
    )
    for file in mappings.files:
        compile_mapping(file, file.table)  # a transform that can't be loaded is known now, not with the first record
    return mappings
