"""Errands: loads, replays, verifications and repairs that run beside the consumers, are killed, and begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cdc.errors import ConfigError, SinkError
from cdc.loads.backfill import Backfill, LoadOptions, StepBegan
from cdc.loads.deployment import ArchivePlace, Deployment
from cdc.loads.jobs import Jobs, S3Objects
from cdc.loads.table import Page, SourceTable
from cdc.loads.unit import LoadStopped
from cdc.mappings.compiled import CompiledMapping
from cdc.records.attributes import RawItem
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.testing import SimulatedDocuments, SimulatedPages
from cdc.testing.faults import Faults, Killed
from cdc.testing.simulated.leases import Gap
from consumers.pipelines import LOAD
from tests.simulation.checker import ARCHIVE
from tests.simulation.tasks import Task

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Errands"]

_T = TypeVar("_T")
_TABLE = "shop"
_MOST_AT_ONCE = 3
_PAUSES = 0.6
"""The share of requests at which others go on."""
_HELD_SECONDS = (1, 400)
_VERIFIED = 0.3
_LONGEST_HELD_SECONDS = 300.0
"""Where a page is held back for longer, it is read again before it is written."""
_OVERTAKING_TURNS = 40
_STEPS = 20_000
_BEGUN_ANEW = 60


class Errands:
    """The errands of a world."""

    def __init__(self, world: World) -> None:
        self.tasks: list[Task] = []
        self.is_running = False
        """Is it an errand that sends requests now?"""
        self.loaded = world.plan.full > 0
        """Is a load wanted: was one begun, or is there what no record tells of?"""
        self._world = world
        self._disturb = Faults(world.plan.seed + 2, world.plan.disturbance)
        self._held = Faults(world.plan.seed + 3, 0.15)
        self._pages_faults = Faults(world.plan.seed + 4, world.plan.fault_rate)
        self._jobs_begun = 0
        self._is_calm = False

    # --- what begins

    def backfill(self) -> None:
        """Somebody begins a load, or takes up the one that is not finished: beside whoever runs it already."""
        self.loaded = True
        self._start("backfill", self._backfill)

    def _start(self, name: str, act: Callable[[Task], None]) -> None:
        if len(self.tasks) < _MOST_AT_ONCE:
            self.tasks.append(Task(name, act))

    def _backfill(self, task: Task) -> None:
        kinesis = self._world.kinesis
        options = LoadOptions(workers=1, kinesis_stream_arn=None if kinesis is None else kinesis.arn)
        jobs = self._jobs(task)
        load = Backfill(self._deployment(task), jobs, options, observe=lambda fact: _note_step(task, fact))
        job = jobs.unfinished(_TABLE)
        if job is None:
            plan, units = load.plan(_TABLE)
            self._jobs_begun += 1
            plan = msgspec.structs.replace(plan, job=f"job-{self._jobs_begun:04d}")
            load.begin(plan, units)
            job = plan.job
        try:
            load.run(_TABLE, job, verify=self._world.chance.random() < _VERIFIED)
        except ConfigError as error:
            if not _is_another(error):
                raise
            plan, _ = jobs.plan(_TABLE, job)
            jobs.did(plan, "aborted")
            self.count("loads refused since the table is another")
            raise
        self.count("loads finished")

    # --- how it goes on

    @property
    def wakes_at(self) -> float | None:
        """When the first of those that sleep goes on; None: none is there."""
        return min((task.wake_at for task in self.tasks), default=None)

    def step(self) -> bool:
        """Let each go on that is due; False if none was."""
        due = [task for task in self.tasks if task.wake_at <= self._world.clock()]
        for task in due:
            if task in self.tasks and not self.is_running:
                self._step(task)
        return bool(due)

    def _step(self, task: Task) -> None:
        self.is_running = True
        try:
            task.step()
        finally:
            self.is_running = False
        if task.meanwhile is not None:
            meanwhile, task.meanwhile, until, task.wake_at = task.meanwhile, None, task.wake_at, inf
            meanwhile()
            task.wake_at = until
        if task.done:
            self.tasks.remove(task)
            self._ended(task)

    def _ended(self, task: Task) -> None:
        match task.error:
            case None:
                return
            case Killed():
                self.count(f"{task.name} killed")
            case LoadStopped() | SinkError():
                self.count(f"{task.name} broke off")
            case ConfigError() as error if _is_another(error) or _may_pass(error):
                self.count(f"{task.name} refused")
            case error:
                raise error

    def finish(self, others: Callable[[], object]) -> None:
        """Run every errand to its end, a load that broke off from where it was; `others` go on meanwhile."""
        self._is_calm = True
        self._pages_faults.off()
        self._run_out(others)
        for _ in range(_BEGUN_ANEW):
            if not self.loaded or self._finished():
                return
            self.backfill()
            self._run_out(others)
        self._world.checker.violated("a load does not come to an end")

    def _run_out(self, others: Callable[[], object]) -> None:
        for _ in range(_STEPS):
            if not self.tasks:
                return
            if not self.step() and not others() and (wakes := self.wakes_at) is not None:
                self._world.clock.sleep(wakes - self._world.clock())
        self._world.checker.violated(f"it does not come to an end: {self.tasks[0].name}")

    def _finished(self) -> bool:
        """Is there a finished load of this table and its stream?"""
        with _without_faults(self._world):
            jobs = Jobs(self._objects(self._world.s3))
            done = [job for job in jobs.of_table(_TABLE) if "finished" in jobs.steps(_TABLE, job)]
            plans = [jobs.plan(_TABLE, job)[0] for job in done]
        table, kinesis = self._world.table, self._world.kinesis
        stream = table.stream.arn if kinesis is None else kinesis.arn
        return any((plan.table_id, plan.stream) == (table.id, stream) for plan in plans)

    @property
    def disturbances(self) -> Mapping[str, int]:
        """The faults that errands have met."""
        return {**self._disturb.counts, **self._held.counts, **self._pages_faults.counts}

    def close(self) -> None:
        """End every thread."""
        for task in self.tasks:
            task.kill()
        self.tasks.clear()

    def count(self, name: str) -> None:
        """Count something that happened."""
        self._world.checker.counts[name] += 1

    # --- the process of an errand

    def _deployment(self, task: Task) -> Deployment:
        world = self._world

        def asked(*, is_write: bool) -> None:
            held_seconds = 0.0 if task.read_at is None else world.clock() - task.read_at
            if is_write and held_seconds > _LONGEST_HELD_SECONDS:
                world.checker.violated(f"a load writes a page that it read {held_seconds:.0f} s ago")
            self._asked(task)

        def sleep(seconds: float) -> None:
            task.pause(world.clock() + seconds)

        runtime = world.runtime(asked)
        pipelines = replace(runtime.pipelines, sleep=sleep)

        def prepare(stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
            world.undisturbed(world.ready)
            world.undisturbed(lambda: runtime.tables.prepare(stream, keys, view))
            return runtime.tables.mapping(stream.table)

        def index(mapping_of: Callable[[str], CompiledMapping]) -> Sink:
            sink = pipelines.index(mapping_of)
            assert sink is not None
            return sink

        pages = _WatchedPages(
            world.table,
            world.clock,
            world.chance,
            self._pages_faults,
            ask=lambda: self._asked(task),
            read=lambda page: self._read(task, page),
        )
        s3: Any = _Patient(world.s3, lambda: self._asked(task))
        return Deployment(
            pages=pages,
            items=_Watched(world.table, lambda: self._asked(task)),  # type: ignore[arg-type]
            prepare=prepare,
            index=index,
            load_sink=lambda sink: pipelines.around(sink, LOAD, sleep),
            documents=_WatchedDocuments(world.server, ask=lambda: self._asked(task)),
            archive=ArchivePlace(s3, ARCHIVE, "cdc") if world.plan.archive_known else None,
            dead_letters=runtime.clients.dead_letters,
            clock=world.clock,
            now=world.clock,
            sleep=sleep,
        )

    def _jobs(self, task: Task) -> Jobs:
        return Jobs(self._objects(_Patient(self._world.s3, lambda: self._asked(task))))

    def _objects(self, client: Any) -> S3Objects:
        return S3Objects(client, ARCHIVE, "cdc/jobs/")

    def _asked(self, task: Task) -> None:
        """An errand sends a request, or has its answer: it may be killed at that very moment, held for long, or others
        go on before it."""
        if self._is_calm:
            if self._world.chance.random() < _PAUSES:
                task.pause()
            return
        if self._disturb.draw(task.name, {"killed": 1}):
            raise Killed
        if self._held.draw(task.name, {"held": 1}):
            task.pause(self._world.clock() + self._held.pick(*_HELD_SECONDS))
        elif self._world.chance.random() < _PAUSES:
            task.pause()

    def _read(self, task: Task, page: Page) -> None:
        """A page was read: it may be held back while somebody writes one of its items, the consumers are fast, and
        OpenSearch forgets."""
        task.read_at = page.began_micros / 1e6 if task.step_name == "load" else None
        items = page.items
        if items and self._held.draw(task.name, {"overtaken": 2}):
            task.pause(meanwhile=lambda: self._overtake(self._world.chance.choice(items)))
        else:
            self._asked(task)

    def _overtake(self, item: RawItem) -> None:
        world = self._world
        if not world.table.exists:
            return
        key = item["pk"]["S"], item["sk"]["S"]
        if world.chance.random() < 0.3:
            world.put(key)
        else:
            world.table.delete(key)
        if world.kinesis is not None:
            world.kinesis.settle()
        for _ in range(_OVERTAKING_TURNS):
            if world.is_drained:
                break
            with suppress(Gap):
                world.turn()
        world.server.restart(0.0)


def _is_another(error: ConfigError) -> bool:
    """Is the table or its stream another than when the load began?"""
    return "replaced since" in error.message or "not on any more" in error.message or "ResourceNotFound" in str(error)


def _may_pass(error: ConfigError) -> bool:
    """Does it stand still as long as somebody blocks an index?"""
    return "stands still" in error.message or "was aborted" in error.message


def _note_step(task: Task, fact: object) -> None:
    if isinstance(fact, StepBegan):
        task.step_name, task.read_at = fact.step, None


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

    def __init__(self, s3: Any, asked: Callable[[], None]) -> None:
        self._s3 = s3
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
            for _ in range(self._TRIES - 1):
                with suppress(BotoCoreError):
                    try:
                        return method(**options)
                    except ClientError as error:
                        if error.response["Error"]["Code"] != "SlowDown":
                            raise
            return method(**options)

        return called


@contextmanager
def _without_faults(world: World) -> Iterator[None]:
    server, s3 = world.server.faults, world.s3.faults
    world.server.faults = world.s3.faults = None
    try:
        yield
    finally:
        world.server.faults, world.s3.faults = server, s3
