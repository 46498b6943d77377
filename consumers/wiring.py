"""Wiring: Settings → Pipeline, the one place where parts are joined."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc.dead_letters import Keeping, S3DeadLetters
from cdc.document import CompiledMapping, compile_mapping
from cdc.errors import ConfigError
from cdc.mapping import Mappings, TableMapping, load_mappings
from cdc.pipeline import Pipeline
from cdc.retry import Retrying
from cdc.sequence import Stream
from cdc.settings import Settings
from cdc.sinks import Sink
from cdc.sinks.client import NO_CREDENTIALS, assumed, opensearch_client
from cdc.sinks.fanout import Fanout
from cdc.sinks.observed import Observe, Observed

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from opensearchpy import OpenSearch

    from cdc.sinks.indices import Targets

__all__ = ["Wiring", "wire"]

log = logging.getLogger(__name__)

Sleep = Callable[[float], None]


def _nobody(_sink: str, _outcomes: Counter[str]) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Wiring:
    """The clients of a process, and what every shard's pipeline is made of. Pipelines are cheap: one a shard."""

    settings: Settings
    mappings: Mappings
    functions: Sink | None
    opensearch: OpenSearch | None
    targets: Targets | None
    archive_client: S3Client | None
    dead_letters: S3DeadLetters | None
    compiled: dict[str, CompiledMapping] = field(default_factory=dict)

    def prepare(self, stream: Stream, keys: Sequence[str]) -> None:
        """Check the table's mapping against its key attributes, and find or make its indices. Once a stream.

        Raises:
            ConfigError: no mapping names the table, or it does not fit its keys.
            SinkMisconfigured: an index can't be made.
            SinkUnavailable: OpenSearch is out of reach.
        """
        if stream.table not in self.compiled:
            mapping = self.mappings.of(stream.table) if self.functions is None else self._mapping_or_none(stream.table)
            # a record does not say which key is the partition key: the order of their names is known everywhere
            compiled = compile_mapping(mapping, stream.table, sorted(keys))
            if self.opensearch is not None and self.targets is not None:
                from cdc.sinks.indices import prepare

                prepare(self.opensearch, compiled, stream, self.targets)
            self.compiled[stream.table] = compiled

    def _mapping_or_none(self, table: str) -> TableMapping:
        """With functions of the user's a table needs no mapping."""
        try:
            return self.mappings.of(table)
        except ConfigError:
            return TableMapping(table=table, source="the functions")

    def pipeline(self, sleep: Sleep = time.sleep, observe: Observe = _nobody) -> Pipeline:
        """A pipeline for one shard, or for one invocation. `sleep` is how it waits between attempts; `observe` is told
        what became of changes in each sink."""
        sinks: list[Sink] = []
        if self.opensearch is not None and self.targets is not None:
            from cdc.sinks.opensearch import OpenSearchSink

            sinks.append(
                OpenSearchSink(
                    client=self.opensearch,
                    mapping_of=self.compiled.__getitem__,
                    targets=self.targets,
                    max_bytes=self.settings.bulk_bytes,
                    max_count=self.settings.bulk_count,
                    timeout_seconds=self.settings.opensearch_timeout_seconds,
                )
            )
        if self.functions is not None:
            sinks.append(self.functions)
        return Pipeline(
            Fanout(tuple(self._durable(sink, sleep, observe) for sink in sinks), self._archive(sleep, observe)),
            self.dead_letters,
        )

    def _durable(self, sink: Sink, sleep: Sleep, observe: Observe) -> Sink:
        retrying = Retrying(sink, wait_max_seconds=self.settings.retry_wait_max_seconds, sleep=sleep)
        return Observed(Keeping(retrying, self.dead_letters), observe)

    def _archive(self, sleep: Sleep, observe: Observe) -> Sink | None:
        if self.archive_client is None or self.settings.archive_bucket is None:
            return None
        from cdc.sinks.s3 import S3Archive

        return self._durable(
            S3Archive(
                self.archive_client,
                self.settings.archive_bucket,
                lambda table: self.compiled[table].mapping,
                prefix=self.settings.archive_prefix,
                kms_key=self.settings.archive_kms_key,
            ),
            sleep,
            observe,
        )


def wire(settings: Settings, *, functions: Sink | None = None) -> Wiring:
    """Read the mappings and make the clients that the settings ask for. Talks to nobody yet.

    Raises:
        ConfigError: settings or mappings are wrong, or nothing would be done.
    """
    mappings = (
        load_mappings(Path(part) for part in settings.mappings.split(":"))
        if functions is None or Path(settings.mappings.split(":")[0]).exists()
        else Mappings(())
    )
    indexed = any(file.documents for file in mappings.files)
    if indexed and settings.opensearch_endpoint is None:
        raise ConfigError(
            "the mappings name indices, and there is no OpenSearch to write them to",
            remedy="Set CDC_OPENSEARCH_ENDPOINT, or take `documents` out of the mappings.",
        )
    if not indexed and settings.archive_bucket is None and functions is None:
        raise ConfigError(
            "nothing would be done: no mapping names an index, and there is no archive",
            remedy="Add `documents` to a mapping, or set CDC_ARCHIVE_BUCKET.",
        )
    if settings.dead_letter_bucket is None:
        log.warning(
            "CDC_DEAD_LETTER_BUCKET is not set: a record that can't be written is never acknowledged "
            "and holds its shard until someone mends the cause"
        )
    opensearch: OpenSearch | None = None
    targets: Targets | None = None
    if indexed:
        from cdc.sinks.indices import Targets

        opensearch, targets = opensearch_client(settings), Targets()
    archive = _s3(settings.archive_role_arn) if settings.archive_bucket else None
    letters = (
        S3DeadLetters(_s3(None), settings.dead_letter_bucket, settings.dead_letter_prefix, settings.archive_kms_key)
        if settings.dead_letter_bucket
        else None
    )
    return Wiring(settings, mappings, functions, opensearch, targets, archive, letters)


def _s3(role_arn: str | None) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    if session.get_credentials() is None:
        raise ConfigError("there are no AWS credentials", remedy=NO_CREDENTIALS)
    if role_arn:
        session = assumed(session, role_arn)
    return session.client(
        "s3",
        config=Config(
            s3={"addressing_style": "auto"},
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=16,
        ),
    )
