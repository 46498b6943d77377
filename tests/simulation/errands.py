"""Errands: loads, replays, verifications and repairs that run beside the consumers, are killed, and begun again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import msgspec

from cdc.errors import ConfigError, SinkError
from cdc.loads.backfill import Backfill, LoadOptions, StepBegan
from cdc.loads.batches import ReplayStopped
from cdc.loads.jobs import Jobs
from cdc.loads.plan import Plan
from cdc.loads.replay import replay_to_index
from cdc.loads.table import Page
from cdc.loads.unit import LoadStopped
from cdc.records.stream import Stream
from cdc.testing.faults import Faults, Killed
from cdc.verification.audit import Audit
from cdc.verification.findings import DifferenceClass, Findings
from cdc.verification.verify import verify
from tests.simulation.differences import Differences
from tests.simulation.foreign import ForeignWriter
from tests.simulation.processes import Process, objects_of
from tests.simulation.rebuilds import Rebuilds
from tests.simulation.refusals import is_another, is_told
from tests.simulation.tasks import Task

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Errands"]

_TABLE = "shop"
_MOST_AT_ONCE = 3
_PAUSES = 0.6
"""The share of requests at which others go on."""
_HELD_SECONDS = (1, 400)
_VERIFIED = 0.3
_SETTLE_SECONDS = 5.0
_AUDITED = 4
_REPAIRS = 8
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
        self._disturb = Faults(world.plan.seed + 2, 1.5 * world.plan.disturbance)
        self._held = Faults(world.plan.seed + 3, 0.15)
        self._kills = Faults(world.plan.seed + 5, 0.12)
        self._pages_faults = Faults(world.plan.seed + 4, world.plan.fault_rate)
        self.repaired = False
        """Is a repair wanted in the end?"""
        self._foreign = ForeignWriter(world)
        self.rebuilds = Rebuilds(world, self._start)
        self._jobs_begun = 0
        self._is_calm = False
        self._failures: list[BaseException] = []

    # --- what begins

    def backfill(self, steps: int = 1) -> None:
        """Somebody begins a load, or takes up the one that is not finished: beside whoever runs it already. It comes
        so far before others have their turns."""
        if self._is_enough:
            return
        self.loaded = True
        self._start("backfill", self._backfill)
        for _ in range(steps):
            self.step()

    @property
    def _is_enough(self) -> bool:
        """Is one finished load all that there will be? A second one would mend what the first has done wrong."""
        return self._world.plan.seed % 2 == 1 and self._finished()

    def load_export(self, amount: int) -> None:
        """Somebody loads an export: a new one, or one that was made before; that may be too old."""
        if self._is_enough:
            return
        self.loaded = True
        world = self._world
        too_old = int(world.plan.full > 0) if world.kinesis else 0  # by Kinesis nothing tells which exports are
        if amount % 2 or not world.exported[too_old:]:
            world.export()
        known = world.exported[too_old:]
        self._start("export load", partial(self._backfill, location=known[amount % len(known)]))

    def verify(self, *, repair: bool = False) -> None:
        """Somebody verifies the index, and has mended what differs."""
        self.repaired = self.repaired or repair
        self._start("repair" if repair else "verify", partial(self._verify, repair=repair))

    def replay(self) -> None:
        """Somebody replays what the archive holds of the last minutes."""
        if self._world.plan.archive_known:
            self._start("replay", self._replay)

    def tamper(self, item: int, amount: int) -> None:
        """Another program removes, alters or adds a document, and somebody has it mended: only a repair finds it."""
        self._foreign.tamper(item, amount)
        self.verify(repair=True)

    def audit(self, *, repair: bool) -> None:
        """Somebody audits a sample, and has mended what differs."""
        self.repaired = self.repaired or repair
        self._start("audit", partial(self._audit, repair=repair))

    def _start(self, name: str, act: Callable[[Task], object]) -> None:
        if len(self.tasks) < _MOST_AT_ONCE:
            self.tasks.append(Task(name, act))
            self.step()

    def _backfill(self, task: Task, location: str = "") -> None:
        process, kinesis = self.process(task), self._world.kinesis
        options = LoadOptions(workers=1, kinesis_stream_arn=None if kinesis is None else kinesis.arn)
        jobs = process.jobs
        load = Backfill(process.deployment, jobs, options, observe=lambda fact: _note_step(task, fact))
        job = jobs.unfinished(_TABLE)
        if job is None:
            planner = load.planner
            plan, units = planner.of_export(_TABLE, location) if location else planner.of_table(_TABLE)
            self._check_age(plan)
            self._jobs_begun += 1
            plan = msgspec.structs.replace(plan, job=f"job-{self._jobs_begun:04d}")
            load.begin(plan, units)
            job = plan.job
        try:
            load.run(_TABLE, job, verify=self._world.chance.random() < _VERIFIED)
        except ConfigError as error:
            if not is_another(error):
                raise
            plan, _ = jobs.plan(_TABLE, job)
            jobs.did(plan, "aborted")
            self.count("loads refused since the table is another")
            raise
        self.count("loads finished")

    def _check_age(self, plan: Plan) -> None:
        """No load may begin with an export of a time before the stream: what was written between is in neither."""
        if plan.export is None or ":kinesis:" in plan.stream:
            return
        began = datetime.fromisoformat(Stream.dynamodb(plan.stream).label).replace(tzinfo=UTC)
        if plan.export.time < began:
            self._world.checker.violated(f"a load begins with an export of {plan.export.time}, before its stream")

    def _replay(self, task: Task) -> None:
        process, minutes = self.process(task), self._world.chance.choice([1, 10, 1000])
        since = self._world.clock.utc() - timedelta(minutes=minutes)
        replay_to_index(process.deployment, _TABLE, since, stream=self._stream)
        self.count("replays finished")

    def _verify(self, task: Task, *, repair: bool) -> Findings:
        table = self._world.table.id
        with self._watched() as truth:
            findings = verify(
                self.process(task).deployment,
                _TABLE,
                stream=self._stream,
                workers=1,
                segments=2,
                settle_seconds=_SETTLE_SECONDS,
                repair=repair,
                max_repairs=None,
            )
            truth.look()
            if self._world.table.id == table:
                self._hold_to(findings, truth)
        self.count("verifications finished")
        return findings

    def _audit(self, task: Task, *, repair: bool) -> None:
        table = self._world.table.id
        with self._watched() as truth:
            deployment = self.process(task).deployment
            audit = Audit(deployment, _TABLE, self._stream, repair=repair, seed=self._world.plan.seed)
            figure = audit.look(_AUDITED, settle_seconds=_SETTLE_SECONDS)
            lasted = truth.longest_seconds
            if figure.differences and self._world.table.id == table and lasted < _SETTLE_SECONDS:
                self._world.checker.violated(f"an audit reports {figure.verdict}, and none lasted {_SETTLE_SECONDS} s")
        self.count("audits finished")

    @contextmanager
    def _watched(self) -> Iterator[Differences]:
        """The differences from now on."""
        watched, truth = self._world.checker.watched, self._world.checker.differences()
        watched.append(truth)
        try:
            yield truth
        finally:
            watched.remove(truth)

    def _hold_to(self, findings: Findings, truth: Differences) -> None:
        """No difference is reported but one that was there, for as long as consumers may lag behind."""
        for told in findings.examples:
            lasted = truth.lasted_seconds((told.index, told.id))
            self.count(f"{told.kind.value} reported")
            if lasted is None or lasted < _SETTLE_SECONDS:
                text = "never differed" if lasted is None else f"differed for {lasted:.1f} s"
                self._world.checker.violated(f"{told.index}/{told.id} is reported as {told.kind.value}, and {text}")

    @property
    def _stream(self) -> Stream | None:
        kinesis = self._world.kinesis
        return None if kinesis is None else Stream.kinesis(kinesis.arn, _TABLE)

    # --- how it goes on

    @property
    def wakes_at(self) -> float | None:
        """When the first of those that sleep goes on; None: none is there."""
        return min((task.wake_at for task in self.tasks), default=None)

    def step(self) -> bool:
        """Let each go on that is due; False if none was."""
        if self.is_running:
            return False
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
            case LoadStopped() | ReplayStopped() | SinkError():
                self.count(f"{task.name} broke off")
            case ConfigError() as error if is_told(error):
                self.count(f"{task.name} refused")
            case error:
                self._failures.append(error)  # others may be in the middle of something

    def fail(self) -> None:
        """Raise what ended an errand that nothing explains."""
        if self._failures:
            raise self._failures[0]

    def finish(self, others: Callable[[], object]) -> None:
        """Run every errand to its end, a load that broke off from where it was; `others` go on meanwhile."""
        self._is_calm = True
        self._pages_faults.off()
        self._held.off()
        self._kills.off()
        self._run_out(others)
        for _ in range(_BEGUN_ANEW):
            if not self.loaded or self._finished():
                break
            self.backfill()
            self._run_out(others)
        else:
            self._world.checker.violated("a load does not come to an end")
        if self.rebuilds.are_wanted:
            self.rebuilds.conclude(lambda: self._run_out(others), _BEGUN_ANEW)

    def find_planted(self, others: Callable[[], object]) -> None:
        """A verification finds what was planted, and nothing else."""
        planted, told = self._foreign.plant(), list[Findings]()
        self.tasks.append(Task("verify", lambda task: told.append(self._verify(task, repair=False))))
        self._run_out(others)
        found = {
            (one.index, one.id): one.kind.value for one in told[0].examples if one.kind is not DifferenceClass.KEPT
        }
        for place, kind in planted.items():
            if found.get(place) not in (kind, "foreign"):
                self._world.checker.violated(f"{'/'.join(place)} is {kind}, and is reported as {found.get(place)}")
        for place in found.keys() - planted.keys():
            self._world.checker.violated(f"{'/'.join(place)} is right, and is reported as {found[place]}")

    def repair_all(self, others: Callable[[], object]) -> None:
        """Mend what differs until nothing is left over. What OpenSearch remembers of deletes would be in the way."""
        told: list[Findings] = []
        for _ in range(_REPAIRS):
            self._world.server.restart(0.0)
            told.clear()
            self.tasks.append(Task("repair", lambda task: told.append(self._verify(task, repair=True))))
            self._run_out(others)
            if told and not told[0].left and not told[0].unsettled:
                return
        self._world.checker.violated(f"a repair leaves differences: {told[0].verdict if told else 'it broke off'}")

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
            jobs = Jobs(objects_of(self._world.s3, self._world.clock.sleep))
            done = [job for job in jobs.of_table(_TABLE) if "finished" in jobs.steps(_TABLE, job)]
            plans = [jobs.plan(_TABLE, job)[0] for job in done]
        table, kinesis = self._world.table, self._world.kinesis
        stream = table.stream.arn if kinesis is None else kinesis.arn
        return any((plan.table_id, plan.stream) == (table.id, stream) for plan in plans)

    @property
    def disturbances(self) -> Mapping[str, int]:
        """The faults that errands have met."""
        return dict(self._disturb.counts + self._held.counts + self._kills.counts + self._pages_faults.counts)

    def close(self) -> None:
        """End every thread."""
        for task in self.tasks:
            task.kill()
        self.tasks.clear()

    def count(self, name: str) -> None:
        """Count something that happened."""
        self._world.checker.counts[name] += 1

    # --- the process of an errand

    def process(self, task: Task) -> Process:
        """The process that a task runs in."""
        return Process(self._world, task, self._asked, self._read, self._pages_faults, self._kills)

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
        task.has_unwritten = task.step_name == "load" and bool(items)
        if items and self._held.draw(task.name, {"overtaken": 2}):
            task.pause(meanwhile=lambda: self._foreign.overtake(self._world.chance.choice(items)))
        else:
            self._asked(task)


def _note_step(task: Task, fact: object) -> None:
    if isinstance(fact, StepBegan):
        task.step_name, task.read_at = fact.step, None


@contextmanager
def _without_faults(world: World) -> Iterator[None]:
    server, s3 = world.server.faults, world.s3.faults
    world.server.faults = world.s3.faults = None
    try:
        yield
    finally:
        world.server.faults, world.s3.faults = server, s3
