"""Table preparation: from a table's mapping to indices that are ready, once a stream and table."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING

from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.model import Mappings, TableMapping
from cdc.records.change import StreamView
from cdc.records.stream import Stream

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.sinks.opensearch.admission import OnChangedMapping
    from cdc.sinks.opensearch.targets import Targets

__all__ = ["TablePreparation"]

log = logging.getLogger(__name__)


class TablePreparation:
    """The owner of the compiled mappings. Threads of several shards may ask for one table at the same time."""

    def __init__(
        self,
        mappings: Mappings,
        opensearch: OpenSearch | None,
        targets: Targets | None,
        *,
        any_table: bool = False,
        skip_unmapped: bool = False,
        request_seconds: float = 30.0,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        on_changed_mapping: OnChangedMapping = "refuse",
    ) -> None:
        """
        Args:
            any_table: a table that no mapping names is taken too, for functions and sinks of one's own.
            skip_unmapped: the changes of a table that no mapping names are skipped.
            request_seconds: the time that one request to OpenSearch may take.
            on_changed_mapping: `accept` goes on where documents of an earlier mapping are left behind.
        """
        self._mappings = mappings
        self._opensearch = opensearch
        self._targets = targets
        self._any_table = any_table
        self._skip_unmapped = skip_unmapped
        self._request_seconds = request_seconds
        self._now = now
        self._sleep = sleep
        self._on_changed_mapping = on_changed_mapping
        self._compiled: dict[str, CompiledMapping] = {}
        self._ready: set[tuple[str, str]] = set()
        self._lock = Lock()

    def mapping(self, table: str) -> CompiledMapping:
        """The compiled mapping of a table that was prepared."""
        return self._compiled[table]

    def is_ready(self, stream: Stream) -> bool:
        """Was the table prepared for this stream?"""
        return (stream.arn, stream.table) in self._ready

    def prepare(
        self,
        stream: Stream,
        keys: Sequence[str],
        view: StreamView | None = None,
        deadline: Deadline | None = None,
        *,
        remember: bool = True,
    ) -> CompiledMapping:
        """Check the table's mapping against its key attributes and the stream's view, find or make its indices, and
        have them remember the stream. Asked again, it answers at once.

        Args:
            remember: False for a redrive: a letter may be of a stream that is long gone.

        Raises:
            ConfigError: no mapping names the table, it does not fit its keys or the view, or an index holds what this
                stream would rank below, what another table's items could share, or what the mapping would leave behind.
            SinkMisconfigured: an index can't be made.
            SinkUnavailable: OpenSearch is out of reach.
        """
        with self._lock:
            if not self.is_ready(stream):
                self._prepare(stream, keys, view, deadline, remember=remember)
            return self._compiled[stream.table]

    def _prepare(
        self, stream: Stream, keys: Sequence[str], view: StreamView | None, deadline: Deadline | None, *, remember: bool
    ) -> None:
        compiled = self._compiled.get(stream.table) or self._compile(stream.table, keys)
        if view is not None:
            _check_view(view, compiled.mapping, stream)
        if self._opensearch is not None and self._targets is not None:
            from cdc.sinks.opensearch.client import within
            from cdc.sinks.opensearch.indices import prepare

            client = self._opensearch
            if deadline is not None:
                client = within(client, deadline, self._request_seconds)
            prepare(
                client,
                compiled,
                stream,
                self._targets,
                self._now,
                self._sleep,
                remember=remember,
                on_changed_mapping=self._on_changed_mapping,
            )
        self._compiled[stream.table] = compiled
        if remember:
            self._ready.add((stream.arn, stream.table))

    def _compile(self, table: str, keys: Sequence[str]) -> CompiledMapping:
        mapping = self._mappings.find(table)
        if mapping is None:
            mapping = self._unmapped(table)
        # a record does not say which key is the partition key: the order of their names is known everywhere
        compiled = compile_mapping(mapping, table, sorted(keys))
        for other in self._compiled.values():
            for index in compiled.bodies.keys() & other.bodies.keys():
                from cdc.mappings.identity import documents_in, may_share, shared_documents

                if may_share(table, documents_in(index, compiled), other.table, documents_in(index, other)):
                    raise shared_documents(mapping.source, index, table, other.table)
        return compiled

    def _unmapped(self, table: str) -> TableMapping:
        if self._any_table:
            return TableMapping(table, source="the functions")
        if self._skip_unmapped:
            log.warning("no mapping names the table %s: its changes are skipped, and counted as such", table)
            return TableMapping(table, archive=False, source="no mapping")
        return self._mappings.of(table)


def _check_view(view: StreamView, mapping: TableMapping, stream: Stream) -> None:
    """Refuse a stream that does not carry what the mapping compares."""
    if view is not StreamView.NEW_AND_OLD_IMAGES and any(document.unless_only for document in mapping.documents):
        raise ConfigError(
            f"{mapping.source}: unless_only compares both images; the stream of {stream.table} has the view {view}",
            remedy="Disable the stream and enable it with NEW_AND_OLD_IMAGES: the old one is read to its end all the "
            "same. Or take unless_only out.",
        )
