"""Loading: from a runtime to the deployment that loads, replays, verifications and repairs work with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.loads.deployment import ArchivePlace, Deployment, ExportClients
from cdc.loads.jobs import FolderObjects, Jobs, S3Objects
from cdc.loads.table import DynamoDBPages
from cdc.mappings.compiled import CompiledMapping
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.sinks import Sink
from consumers.clients import LateClient, aws_client, item_client, opensearch_options
from consumers.pipelines import LOAD
from consumers.runtime import Runtime, open_runtime
from consumers.settings import Settings, load_settings

__all__ = ["archive_of", "deployment_of", "jobs_of", "open_deployment"]


_OBJECTS_AT_ONCE = 8
_ATTEMPTS = 8
"""For one request to S3: no load of hours ends by a connection that broke."""


def deployment_of(runtime: Runtime) -> Deployment:
    """The parts of this deployment.

    Raises:
        ConfigError: no mapping names an index, or there are no credentials.
    """
    if runtime.clients.opensearch is None:
        raise ConfigError(
            "no mapping names an index: there is nothing to load or to verify",
            remedy="Add `documents` to a mapping, and set CDC_OPENSEARCH_ENDPOINT.",
        )
    from cdc.sinks.opensearch.client import opensearch_client
    from cdc.sinks.opensearch.documents import OpenSearchDocuments

    pipelines, settings = runtime.pipelines, runtime.settings

    def there(sink: Sink | None) -> Sink:
        if sink is None:
            raise ConfigError("there is no index", remedy="Set CDC_OPENSEARCH_ENDPOINT.")
        return sink

    def prepare(stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
        own = runtime.tables.prepare(stream, keys, view)
        if pipelines.members is None:
            return own
        return pipelines.members.searched(own, Deadline.after(settings.opensearch_timeout_seconds))

    return Deployment(
        pages=DynamoDBPages(item_client(settings.aws_timeout_seconds)),
        items=runtime.clients.items,
        prepare=prepare,
        index=lambda mapping_of: there(pipelines.index(mapping_of)),
        load_sink=lambda sink: pipelines.around(sink, LOAD, pipelines.sleep),
        documents=OpenSearchDocuments(opensearch_client(opensearch_options(settings), raw_answers=True)),
        archive=archive_of(runtime),
        exports=_export_clients(settings),
        dead_letters=runtime.clients.dead_letters,
        concrete=lambda mapping_of: there(pipelines.concrete_index(mapping_of)),
    )


@contextmanager
def open_deployment(environment: Mapping[str, str]) -> Iterator[tuple[Deployment, Jobs]]:
    """The deployment that an environment describes, and where its jobs are kept; its clients are closed at the end.

    Raises:
        ConfigError: settings or mappings are wrong, or no mapping names an index.
    """
    runtime = open_runtime(load_settings(environment))
    try:
        yield deployment_of(runtime), jobs_of(runtime)
    finally:
        runtime.close()


def archive_of(runtime: Runtime) -> ArchivePlace | None:
    """Where the archive of this deployment is; None if it has none."""
    settings = runtime.settings
    if runtime.clients.archive is None or settings.archive_bucket is None:
        return None
    client: Any = LateClient(
        lambda: aws_client("s3", settings.archive_role_arn, settings.aws_timeout_seconds, attempts=_ATTEMPTS)
    )
    return ArchivePlace(client, settings.archive_bucket, settings.archive_prefix, at_once=_OBJECTS_AT_ONCE)


def _export_clients(settings: Settings) -> ExportClients:
    s3: Any = LateClient(lambda: aws_client("s3", None, settings.aws_timeout_seconds, attempts=_ATTEMPTS))
    dynamodb: Any = LateClient(lambda: aws_client("dynamodb", None, settings.aws_timeout_seconds, attempts=_ATTEMPTS))
    return ExportClients(dynamodb, s3)


def jobs_of(runtime: Runtime) -> Jobs:
    """Where the jobs of this deployment are kept: beside its archive, else in a folder of this user."""
    place = archive_of(runtime)
    if place is not None:
        return Jobs(S3Objects(place.client, place.bucket, f"{place.prefix}/jobs/"))
    return Jobs(FolderObjects(_folder(runtime.settings)))


def _folder(settings: Settings) -> Path:
    if settings.cache_dir:
        return Path(settings.cache_dir) / "jobs"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "dynamodb-cdc" / "jobs"
