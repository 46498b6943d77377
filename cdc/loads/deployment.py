"""Deployment: the parts of a deployment that loads, replays, verifications and repairs work with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cdc.dead_letters.store import DeadLetterStore
from cdc.deadline import Clock
from cdc.item_reader import ItemReader
from cdc.loads.table import TablePages
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.document_writer import DocumentWriter
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.sinks.opensearch.documents import DocumentReader

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client

__all__ = ["ArchivePlace", "Deployment", "ExportClients", "PrepareTable"]


class PrepareTable(Protocol):
    """Gets a table's indices ready; see `TablePreparation.prepare`."""

    def __call__(self, stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
        """The table's compiled mapping, once its indices admit the stream."""
        ...


@dataclass(frozen=True, slots=True)
class ArchivePlace:
    """Where the archive is."""

    client: S3Client
    bucket: str
    prefix: str
    at_once: int = 1
    """So many of its objects are fetched at the same time."""


@dataclass(frozen=True, slots=True)
class ExportClients:
    """The clients that ask for exports and read them."""

    dynamodb: DynamoDBClient
    s3: S3Client


@dataclass(frozen=True)
class Deployment:
    """A table's deployment, joined once a process from its settings, or by hand from clients."""

    pages: TablePages
    items: ItemReader
    prepare: PrepareTable
    index: Callable[[Callable[[str], DocumentWriter]], Sink]
    """Every member of the index by these mappings, with nothing around it."""
    load_sink: Callable[[Sink], Sink]
    """Puts retries and dead letters around an index that a load writes to."""
    documents: DocumentReader
    archive: ArchivePlace | None = None
    exports: ExportClients | None = None
    dead_letters: DeadLetterStore | None = None
    clock: Clock = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    observe: Callable[[Any], None] = lambda _fact: None
    concrete: Callable[[Callable[[str], DocumentWriter]], Sink] | None = None
    """The concrete indices that these mappings name, with nothing around them: what is written goes to no other."""
