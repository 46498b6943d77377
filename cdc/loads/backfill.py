"""Backfill: an index made whole from its table, live: load, closing of ghosts, verification."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock

import msgspec

from cdc.errors import ConfigError
from cdc.loads.archived import excluded_from_archive
from cdc.loads.deployment import Deployment
from cdc.loads.export_files import items_of_file
from cdc.loads.export_pages import ExportPages
from cdc.loads.jobs import Jobs
from cdc.loads.pace import Pace
from cdc.loads.plan import Cursor, Plan, Unit
from cdc.loads.planning import LoadOptions, Planner, digest_of, exports_of
from cdc.loads.table import SourceTable
from cdc.loads.unit import LoadStopped, PageDone, PageReader, ScanPages, UnitLoader
from cdc.mappings.compiled import CompiledMapping
from cdc.verification.findings import DifferenceClass, Findings
from cdc.verification.patience import patiently

__all__ = ["Backfill", "BackfillResult", "LoadOptions", "Loaded", "StepBegan", "backfill"]

_GUARD_SECONDS = 30.0
"""How often a running load looks whether its table and stream are still the same."""


@dataclass(frozen=True, slots=True)
class StepBegan:
    """A step of a load begins: `load`, `ghosts` or `verify`."""

    step: str
    plan: Plan


class Loaded(msgspec.Struct, frozen=True):
    """The work of the load itself, over all its runs."""

    items: int
    outcomes: dict[str, int]
    read_units: float
    first_read: int | None
    last_read: int | None


class BackfillResult(msgspec.Struct, frozen=True):
    """The end of a backfill."""

    plan: Plan
    loaded: Loaded
    ghosts: int
    """Documents that were removed since their items were gone, before the verification."""
    findings: Findings | None = None
    """Those of the verification; None where none was asked for."""


class _Ghosts(msgspec.Struct, frozen=True):
    """The record of the step that removes ghosts."""

    removed: int


@dataclass(frozen=True)
class Backfill:
    """Backfills tables of one deployment. Whatever it writes may be written again: it may be killed at any moment."""

    deployment: Deployment
    jobs: Jobs
    options: LoadOptions = field(default_factory=LoadOptions)
    stop: Event = field(default_factory=Event)
    """Set it to stop a load in order; it can be taken up again."""
    observe: Callable[[object], None] = lambda _fact: None
    """Gets `StepBegan` and `PageDone`, one at a time."""

    @property
    def planner(self) -> Planner:
        """Makes plans of new loads."""
        return Planner(self.deployment, self.options, self.observe)

    def begin(self, plan: Plan, units: Sequence[Unit]) -> None:
        """Keep the plan: from now on it can be taken up."""
        self.jobs.create(plan, units)

    def run(self, table: str, job: str, *, verify: bool = True) -> BackfillResult:
        """Do all that the job has left to do.

        Raises:
            LoadStopped: `stop` was set.
            ConfigError: the table, its stream or its mapping is another than when the load began, or an index refuses
                what is written.
            SinkUnavailable: the table or OpenSearch has been out of reach for ten minutes; it can be taken up again.
        """
        plan, units, steps, source, compiled = self._taken_up(table, job)
        if "loaded" not in steps:
            self.observe(StepBegan("load", plan))
            self._load(plan, units, source, compiled)
            self._same(plan)  # what happened since the last look
            self.jobs.did(plan, "loaded")
        ghosts = self._without_ghosts(plan, source, compiled)
        findings = self._verified(plan) if verify else None
        self.jobs.did(plan, "finished")
        return BackfillResult(plan, self.loaded(plan), ghosts, findings)

    def run_unit(self, table: str, job: str, unit: Unit) -> Cursor:
        """Load one unit of the job, as far as `stop` lets it, beside others who load other units; its cursor then.

        Raises:
            ConfigError: as `run`.
            SinkUnavailable: as `run`.
        """
        plan, _, _, source, compiled = self._taken_up(table, job)
        cursor = self.jobs.cursor(plan, unit)
        pace = Pace(self.options.max_read_units, clock=self.deployment.clock, sleep=self.deployment.sleep)
        loader = self._loader(plan, source, compiled, pace, self._wanted)
        guard = _Guard(lambda: self._same(plan), self.deployment.clock)
        try:
            if not cursor.done:
                for done in loader.load(unit, cursor):
                    guard.look()
                    self.observe(done)
        except LoadStopped:
            pass  # its cursor says how far it came
        finally:
            loader.sink.close()
        return self.jobs.cursor(plan, unit)

    def _taken_up(
        self, table: str, job: str
    ) -> tuple[Plan, Sequence[Unit], frozenset[str], SourceTable, CompiledMapping]:
        """The job, if it may go on: its plan, units and steps, its table and its mapping."""
        plan, units = self.jobs.plan(table, job)
        steps = self.jobs.steps(table, job)
        if "aborted" in steps:
            raise ConfigError(f"the load {job} of {table} was aborted", remedy="Begin a new one.")
        source = self._same(plan)
        # a server that is just starting is waited for: nobody may be there to take the load up once more
        compiled = patiently(
            self.deployment, lambda: self.planner.compiled(source, plan.stream_of_table(), plan.indices)
        )
        if digest_of(compiled) != plan.mapping:
            raise ConfigError(
                f"{compiled.mapping.source}: the mapping has changed since the load {job} began",
                remedy=f"Take the change back, or: cdc backfill abort --table {table}, and begin anew.",
            )
        return plan, units, steps, source, compiled

    def loaded(self, plan: Plan) -> Loaded:
        """How far the load is, by its cursors."""
        cursors = self.jobs.cursors(plan.table, plan.job).values()
        outcomes: Counter[str] = Counter()
        for cursor in cursors:
            outcomes.update(cursor.outcomes)
        return Loaded(
            items=sum(cursor.items for cursor in cursors),
            outcomes=dict(outcomes),
            read_units=sum(cursor.read_units for cursor in cursors),
            first_read=min((one.first_read for one in cursors if one.first_read is not None), default=None),
            last_read=max((one.last_read for one in cursors if one.last_read is not None), default=None),
        )

    def _same(self, plan: Plan) -> SourceTable:
        """The table, if it and its stream are still those of the plan."""
        source = patiently(self.deployment, lambda: self.deployment.pages.describe(plan.table))
        again = f"cdc backfill abort --table {plan.table}, and begin a new load."
        if source.id != plan.table_id:
            raise ConfigError(f"the table {plan.table} was replaced since the load {plan.job} began", remedy=again)
        if ":dynamodb:" in plan.stream and (source.stream is None or source.stream.arn != plan.stream):
            raise ConfigError(
                f"the stream {plan.stream} of {plan.table} is not on any more: changes may have been made that no "
                "stream tells of",
                remedy=f"Enable a stream, then {again}",
            )
        return source

    def _wanted(self) -> bool:
        return not self.stop.is_set()

    # --- the load

    def _load(self, plan: Plan, units: Sequence[Unit], source: SourceTable, compiled: CompiledMapping) -> None:
        """All units, in random order, some at once: no partition of the table is read hot."""
        pace = Pace(self.options.max_read_units, clock=self.deployment.clock, sleep=self.deployment.sleep)
        cursors = self.jobs.cursors(plan.table, plan.job)
        left = [(unit, cursors.get(unit.name) or Cursor(unit.name)) for unit in units]
        left = [(unit, cursor) for unit, cursor in left if not cursor.done]
        random.shuffle(left)
        failed = Event()
        guard = _Guard(lambda: self._same(plan), self.deployment.clock)

        def wanted() -> bool:
            return not (self.stop.is_set() or failed.is_set())

        pending = iter(left)
        lock, told = Lock(), Lock()

        def following() -> Iterator[tuple[Unit, Cursor]]:
            while wanted():
                with lock:
                    unit = next(pending, None)
                if unit is None:
                    return
                yield unit

        def work() -> None:
            loader = self._loader(plan, source, compiled, pace, wanted)
            try:
                for unit, cursor in following():
                    for done in loader.load(unit, cursor):
                        guard.look()
                        with told:
                            self._tell(done)
            except BaseException:
                failed.set()
                raise
            finally:
                loader.sink.close()

        self._in_threads(work, min(self.options.workers, max(1, len(left))))
        if self.stop.is_set():
            raise LoadStopped

    def _loader(
        self, plan: Plan, source: SourceTable, compiled: CompiledMapping, pace: Pace, wanted: Callable[[], bool]
    ) -> UnitLoader:
        return UnitLoader(
            self.deployment,
            self._pages(plan, pace, wanted),
            self.deployment.load_sink(self.deployment.index(lambda _table: compiled)),
            plan.stream_of_table(),
            source.keys,
            lambda cursor: self.jobs.save(plan, cursor),
            wanted,
        )

    def _tell(self, done: PageDone) -> None:
        self.observe(done)

    def _in_threads(self, work: Callable[[], None], count: int) -> None:
        if count == 1:
            work()
            return
        with ThreadPoolExecutor(count, thread_name_prefix="load") as threads:
            running: list[Future[None]] = [threads.submit(work) for _ in range(count)]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            except KeyboardInterrupt:
                self.stop.set()
            errors = [error for future in running if (error := future.exception()) is not None]
            for error in errors:
                if not isinstance(error, LoadStopped):
                    raise error

    def _pages(self, plan: Plan, pace: Pace, wanted: Callable[[], bool]) -> PageReader:
        export = plan.export
        if export is None:
            return ScanPages(self.deployment, plan.table, plan.stream_of_table(), pace, wanted)
        s3, files = exports_of(self.deployment).s3, {file.key: file for file in export.files}
        exported_micros = int(export.time.timestamp() * 1_000_000)
        return ExportPages(self.deployment, lambda key: items_of_file(s3, export, files[key]), exported_micros, wanted)

    # --- what follows

    def _without_ghosts(self, plan: Plan, source: SourceTable, compiled: CompiledMapping) -> int:
        """Remove the documents whose items were deleted, or left, since they were read; how many. In each run: another
        one may have done so before this one has written its last page."""
        self.observe(StepBegan("ghosts", plan))
        from cdc.loads.batches import ReplayStopped
        from cdc.loads.ghosts import close_ghosts
        from cdc.loads.replay import replay_to_index

        try:
            if plan.export is not None and self.deployment.archive is not None and not excluded_from_archive(compiled):
                # an index that is younger than the export has not seen what was archived since
                for index in plan.indices:
                    replay_to_index(
                        self.deployment,
                        plan.table,
                        plan.began_at,
                        index=index,
                        stream=plan.stream_of_table(),
                        wanted=self._wanted,
                    )
            loaded, earlier = self.loaded(plan), self.jobs.given_up(plan)
            removed = close_ghosts(
                self.deployment, compiled, source, plan, loaded, earlier=earlier, wanted=self._wanted
            )
        except ReplayStopped:
            raise LoadStopped from None
        self.jobs.did(plan, "ghosts_closed", msgspec.json.encode(_Ghosts(removed)))
        return removed

    def _verified(self, plan: Plan) -> Findings:
        """The findings of a verification in which ghosts are removed: the archive's newest changes may not have been
        written yet when it was read."""
        self.observe(StepBegan("verify", plan))
        from cdc.verification.verify import VerificationProgress, verify

        def observe(progress: VerificationProgress) -> None:
            if not self._wanted():
                raise LoadStopped
            self.deployment.observe(progress)

        findings = verify(
            self.deployment,
            plan.table,
            stream=plan.stream_of_table(),
            indices=plan.indices,
            workers=self.options.workers,
            max_read_units=self.options.max_read_units,
            repair=True,
            max_repairs=None,
            kinds=(DifferenceClass.GHOST,),
            observe=observe,
        )
        self.jobs.did(plan, "verified", findings.to_json())
        return findings


@dataclass
class _Guard:
    """Looks now and then whether the table is still the same, whoever of the threads is there."""

    check: Callable[[], object]
    clock: Callable[[], float]
    looked_at: float | None = None

    def look(self) -> None:
        now = self.clock()
        if self.looked_at is None:
            self.looked_at = now
        elif now - self.looked_at >= _GUARD_SECONDS:
            self.looked_at = now
            self.check()


def backfill(
    deployment: Deployment,
    table: str,
    *,
    jobs: Jobs,
    max_read_units: float | None = None,
    workers: int = 4,
    kinesis_stream_arn: str | None = None,
    index: str | None = None,
    export: str | None = None,
    verify: bool = True,
    observe: Callable[[object], None] = lambda _fact: None,
) -> BackfillResult:
    """Make the table's indices whole: load every item below the changes of the stream, remove ghosts, verify.

    An unfinished load of the table is taken up; else a new one begins.

    Args:
        max_read_units: read units a second at most.
        workers: parts of the table that are read at once.
        kinesis_stream_arn: the Kinesis stream that carries the table's changes; default: the table's own stream.
        index: only this index of the mapping.
        export: the location of a finished export to load from, instead of the table.

    Raises:
        ConfigError: the table has no stream, can't be read, was replaced, or an index refuses what is written.
    """
    options = LoadOptions(
        workers=workers, max_read_units=max_read_units, kinesis_stream_arn=kinesis_stream_arn, index=index
    )
    load = Backfill(deployment, jobs, options, observe=observe)
    job = jobs.unfinished(table)
    if job is None:
        plan, units = load.planner.of_export(table, export) if export else load.planner.of_table(table)
        load.begin(plan, units)
        job = plan.job
    return load.run(table, job, verify=verify)
