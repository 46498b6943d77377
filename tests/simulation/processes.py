"""Processes of errands: the parts of a deployment, whose every request is told of before it is sent and when its answer
is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cdc.loads.deployment import ArchivePlace, Deployment, ExportClients
from cdc.loads.jobs import Jobs, S3Objects
from cdc.loads.planning import LoadOptions
from cdc.loads.table import Page, SourceTable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.document_writer import DocumentWriter
from cdc.mappings.model import Mappings
from cdc.rebuilds.rebuild import Rebuild
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.testing import SimulatedDocuments, SimulatedPages
from cdc.testing.faults import Faults, Killed
from consumers.pipelines import LOAD
from tests.simulation.tasks import Task
from tests.simulation.truth import ARCHIVE

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Process", "objects_of"]

_MANY = 1_000_000
_LONGEST_HELD_SECONDS = 300.0
"""Where a page is held back for longer, it is read again before it is written."""


@dataclass(frozen=True)
class Process:
    """The process of a task."""

    world: World
    task: Task
    asked: Callable[[Task], None]
    read: Callable[[Task, Page], None]
    pages_faults: Faults
    kills: Faults

    @property
    def jobs(self) -> Jobs:
        """The jobs of loads."""
        return Jobs(objects_of(_Patient(self.world.s3, self._asked, self._put), self._sleep))

    @property
    def deployment(self) -> Deployment:
        """The deployment."""
        world = self.world
        runtime = world.runtime(self._asked_server)
        pipelines = replace(runtime.pipelines, sleep=self._sleep)

        def prepare(stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
            world.undisturbed(world.ready)
            world.undisturbed(lambda: runtime.tables.prepare(stream, keys, view))
            return runtime.tables.mapping(stream.table)

        def index(mapping_of: Callable[[str], DocumentWriter]) -> Sink:
            sink = pipelines.index(mapping_of)
            if sink is None:
                raise AssertionError("the deployment has an index")
            return sink

        def concrete(mapping_of: Callable[[str], DocumentWriter]) -> Sink:
            sink = pipelines.concrete_index(mapping_of)
            if sink is None:
                raise AssertionError("the deployment has an index")
            return sink

        s3: Any = _Patient(world.s3, self._asked)
        return Deployment(
            pages=_WatchedPages(
                world.table,
                world.clock,
                world.chance,
                self.pages_faults,
                ask=self._asked,
                read=partial(self.read, self.task),
            ),
            items=_Watched(world.table, self._asked),
            prepare=prepare,
            index=index,
            load_sink=lambda sink: pipelines.around(sink, LOAD, self._sleep),
            documents=_WatchedDocuments(world.server, ask=self._asked),
            archive=ArchivePlace(s3, ARCHIVE, "cdc") if world.plan.archive_known else None,
            exports=ExportClients(None, s3),  # type: ignore[arg-type]
            dead_letters=runtime.clients.dead_letters,
            clock=world.clock,
            now=world.clock,
            sleep=self._sleep,
            concrete=concrete,
        )

    def rebuild(self, mappings: Mappings) -> Rebuild:
        """Rebuilds by these mapping files, whatever documents are refused, or are kept since they could not be written
        in time."""
        world = self.world
        client: Any = _WatchedServer(world.server, self._asked, world.files.made)
        return Rebuild(
            self.deployment,
            client,
            mappings,
            objects_of(_Patient(world.s3, self._asked, self._put), self._sleep),
            LoadOptions(workers=1, kinesis_stream_arn=None if world.kinesis is None else world.kinesis.arn),
            accept=_MANY,
        )

    def _put(self, key: str) -> None:
        """A cursor may be kept once its page is written."""
        if "/cursors/" in key and self.task.has_unwritten:
            self.world.checker.violated(f"{key} is kept before its page is written")

    def _asked(self) -> None:
        self.asked(self.task)

    def _sleep(self, seconds: float) -> None:
        self.task.pause(self.world.clock() + seconds)

    def _asked_server(self, *, is_write: bool) -> None:
        self.task.has_unwritten = self.task.has_unwritten and not is_write
        held_seconds = 0.0 if self.task.read_at is None else self.world.clock() - self.task.read_at
        if is_write and held_seconds > _LONGEST_HELD_SECONDS:
            self.world.checker.violated(f"a load writes a page that it read {held_seconds:.0f} s ago")
        if is_write and self.kills.draw(self.task.name, {"killed at a write": 1}):
            raise Killed
        self.asked(self.task)


def objects_of(client: Any, sleep: Callable[[float], None]) -> S3Objects:
    """Where jobs are kept."""
    return S3Objects(client, ARCHIVE, "cdc/jobs/", sleep)


class _Watched:
    """A part of the deployment; told of before each call and when its answer is there."""

    def __init__(self, part: Any, ask: Callable[[], None]) -> None:
        self._part = part
        self._ask = ask

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)

        def called(*arguments: Any, **options: Any) -> Any:
            self._ask()
            answer = method(*arguments, **options)
            self._ask()
            return answer

        return called


class _WatchedIndices(_Watched):
    def __init__(self, indices: Any, ask: Callable[[], None], made: Callable[[str, Any], None]) -> None:
        super().__init__(indices, ask)
        self._made = made

    def create(self, *, index: str, body: Any) -> Any:
        self._ask()
        answer = self._part.create(index=index, body=body)
        self._made(index, body)
        self._ask()
        return answer


class _WatchedServer:
    """OpenSearch as the command of a rebuild reaches it."""

    def __init__(self, server: Any, ask: Callable[[], None], made: Callable[[str, Any], None]) -> None:
        self.indices = _WatchedIndices(server.indices, ask, made)
        self.cluster = _Watched(server.cluster, ask)


@dataclass(frozen=True)
class _WatchedPages(SimulatedPages):
    ask: Callable[[], None] = lambda: None
    read: Callable[[Page], None] = lambda _page: None

    def describe(self, table: str) -> SourceTable:
        self.ask()
        return super().describe(table)

    def page(self, *arguments: Any, **options: Any) -> Page:
        self.ask()
        page = super().page(*arguments, **options)
        self.read(page)
        return page


@dataclass(frozen=True)
class _WatchedDocuments(SimulatedDocuments):
    ask: Callable[[], None] = lambda: None

    def pages(self, index: str, **options: Any) -> Iterator[Any]:
        for page in super().pages(index, **options):
            yield page
            self.ask()

    def get(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> Any:
        self.ask()
        found = super().get(index, wanted)
        self.ask()
        return found


class _Patient:
    """S3 as boto3 reaches it, which asks again by itself."""

    _TRIES = 6

    def __init__(self, s3: Any, asked: Callable[[], None], put: Callable[[str], None] = lambda _key: None) -> None:
        self._s3 = s3
        self._put = put
        self._asked = asked
        self.exceptions = s3.exceptions

    def get_paginator(self, operation: str) -> Any:
        pages = self._s3.get_paginator(operation)
        return type(pages)(self)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._s3, name)

        def called(**options: Any) -> Any:
            from botocore.exceptions import BotoCoreError, ClientError

            self._asked()
            if name == "put_object":
                self._put(options["Key"])
            for _ in range(self._TRIES - 1):
                with suppress(BotoCoreError):
                    try:
                        return method(**options)
                    except ClientError as error:
                        if error.response["Error"]["Code"] != "SlowDown":
                            raise
            return method(**options)

        return called
