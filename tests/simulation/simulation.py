"""A simulation: one plan run to its end, and what the checker says of it."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import orjson

from cdc.dead_letters.redrive import Result, StillDead
from cdc.deadline import Deadline
from cdc.item_reader import ItemReader as Items
from cdc.records.attributes import RawItem
from cdc.records.change import Change
from cdc.records.decoding import changes_from_lambda
from cdc.testing.simulated.leases import Gap
from consumers.aws_lambda.on_failure import FailedBatch, ReadBack, read_on_failure, redrive_batch
from tests.simulation.plan import Event, Plan, draw_plan, key_of
from tests.simulation.truth import INDICES
from tests.simulation.world import World

__all__ = ["Report", "simulate", "simulate_seed", "smallest"]

_TURNS = 3_000
_WRITES_MEANWHILE = 0.4
_REDRIVES = 6
_LATE_SECONDS = 200.0
"""By then everything that was sent has arrived."""


@dataclass(frozen=True, slots=True)
class Report:
    """The end of a plan: nothing in `violations` if the promise was kept."""

    plan: Plan
    violations: tuple[str, ...]
    counts: Counter[str]


def simulate(plan: Plan) -> Report:
    """Run a plan. The same plan gives the same report."""
    state = random.getstate()
    random.seed(plan.seed)  # tenacity's jitter
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        run = _Run(plan)
        try:
            return run.report()
        finally:
            run.world.errands.close()
    finally:
        logging.disable(level)
        random.setstate(state)


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.world = World(plan)
        self.fell_behind = False

    def report(self) -> Report:
        world, checker = self.world, self.world.checker
        for event in self.plan.events:
            self._happen(event)
            world.errands.fail()
        world.calm()
        self._drain()
        world.clock.sleep(_LATE_SECONDS)
        world.errands.finish(self._turn)
        world.errands.fail()
        checker.loads_finished = world.errands.loaded or world.plan.rebuilds
        if world.errands.repaired:
            world.errands.repair_all(self._turn)
            if not checker.violations:
                world.errands.find_planted(self._turn)
            world.errands.repair_all(self._turn)
            world.errands.fail()
            self._write_on()
            checker.repaired = checker.loads_finished = True
        self._drain()
        given_up = self._given_up()
        checker.given_up.update(str(change.identity) for change in given_up)
        letters = len(checker.letters)
        if not checker.violations:
            kept = [change.raw_keys for change in (*given_up, *checker.deferred_too_long())]
            self._indices_are_right(refused=self.plan.poison, except_for=kept)
            checker.archive_is_complete(allow_overlap=world.was_interrupted or self._has_two_writers())
            checker.letters_are_whole()
            self._redrive(kept)
        if world.kcl is not None:
            if world.kcl.skipped_batches:
                checker.violated(f"the KCL skipped {world.kcl.skipped_batches} batches: {world.kcl.escaped[:1]}")
            if world.kcl.gaps:
                checker.violated("records were trimmed before they were read")
        counts = Counter(checker.counts)
        counts.update(
            {"changes": len(world.table.history), "dead letters": letters, "given up by Lambda": len(given_up)}
        )
        counts.update({"conflicts": world.server.conflicts})
        counts.update({f"fault: {name}": count for name, count in world.disturbances.items()})
        return Report(self.plan, tuple(checker.violations), counts)

    def _indices_are_right(self, *, refused: bool, except_for: Sequence[RawItem]) -> None:
        """Those that searches see, and the one that stands by."""
        checker, beside = self.world.checker, self.world.errands.rebuilds.beside
        checker.index_is_right(refused=refused, except_for=except_for)
        if beside is not None:
            where = {**checker.searched(), "orders": beside}
            checker.index_is_right(refused=refused, except_for=except_for, beside=where)

    def _write_on(self) -> None:
        """Life goes on after a repair: whatever is written then outranks it."""
        for item in range(3):
            if item == self.world.chance.randrange(3):
                self.world.table.delete(key_of(item))
            else:
                self.world.put(key_of(item))
        if self.world.kinesis is not None:
            self.world.kinesis.settle()
        self._drain()

    def _redrive(self, kept: Sequence[RawItem]) -> None:
        """Mend what refused documents, and redrive all that was kept: nothing may be missing then."""
        world, checker = self.world, self.world.checker
        world.server.rejects = None
        if not world.on_failure and not checker.letters:
            return
        world.server.restart(0.0)  # it has forgotten every delete by now
        redriver = replace(world.redriver(), items=_Restless(world.table, self._write_meanwhile))
        deadline = Deadline.after(3600.0, clock=world.clock)
        self._until_done(
            lambda: [
                redrive_batch(read_on_failure(record), redriver, _no_reader, deadline, world.clock.utc)
                for record in world.on_failure
            ]
        )
        self._until_done(lambda: [result for _, result in redriver.redrive(list(redriver.letters.keys()), deadline)])
        world.calm()
        self._drain()
        checker.given_up.clear()
        # of an item that was dropped with its table a redrive finds nothing, and removes the document
        dropped = any(event.kind == "new table" for event in self.plan.events)
        self._indices_are_right(refused=False, except_for=[*kept, *checker.poisoned()] if dropped else ())
        checker.archive_is_complete(allow_overlap=True)
        if checker.letters:
            checker.violated(f"{len(checker.letters)} dead letters are left after a redrive")

    def _until_done(self, redrive: Callable[[], list[Result]]) -> None:
        """An item that changes all the time is told to be tried again later."""
        kept: list[StillDead] = []
        for _ in range(_REDRIVES):
            kept = [result for result in redrive() if isinstance(result, StillDead)]
            if not kept:
                return
        self.world.checker.violated(f"a redrive did not succeed: {kept[0].reason}")

    def _write_meanwhile(self, keys: Sequence[RawItem]) -> None:
        """Somebody writes one of the items that a redrive has just read; the consumers are faster than the redrive, and
        OpenSearch forgets."""
        chance = self.world.chance
        if not keys or chance.random() > _WRITES_MEANWHILE:
            return
        chosen = chance.choice(keys)
        key = [chosen[name]["S"] for name in self.world.table.keys]
        if chance.random() < 0.3:
            self.world.put((key[0], key[1]))
        else:
            self.world.table.delete(key)
        if self.world.kinesis is not None:
            self.world.kinesis.settle()
        self._drain()
        self.world.server.restart(0.0)

    def _has_two_writers(self) -> bool:
        return self.plan.consumer == "lambda and kcl" or any(
            event.kind in ("crash", "freeze", "new worker", "hide alias", "block", "restart", "outage")
            for event in self.plan.events
        )

    def _given_up(self) -> list[Change]:
        """The batches that Lambda has sent to its on-failure destination."""
        return [
            change
            for record in self.world.on_failure
            for change in changes_from_lambda(orjson.loads(record["payload"]))
        ]

    def _drain(self) -> None:
        for _ in range(_TURNS):
            if self.world.is_drained:
                return
            self._turn()
        self.world.checker.violated("the consumers do not come to an end")

    def _turn(self) -> bool:
        try:
            return self.world.turn()
        except Gap:
            return True  # noted by the KCL

    def _happen(self, event: Event) -> None:
        match event.kind:
            case "put" | "burst" | "delete" | "expire":
                self._to_an_item(event)
            case "turns":
                for _ in range(event.amount):
                    self._turn()
            case "wait" | "outage":
                self.world.clock.sleep(event.amount**2 if event.kind == "wait" else 1800.0 * event.amount)
            case "backlog":
                self._fall_behind()
            case "split" | "roll" | "merge":
                self._reshard(event)
            case "new stream" | "new table":
                self._begin_anew(event)
            case "restart":
                self.world.server.restart(float(event.amount))
            case "hide alias":
                self.world.hide_alias(INDICES[event.item % 2], event.amount * 10.0)
            case "block":
                self.world.block(INDICES[event.item % 2], event.amount * 10.0)
            case "crash" | "freeze" | "hand over" | "new worker":
                self._to_a_worker(event)
            case _:
                self._send(event)

    def _send(self, event: Event) -> None:
        """Somebody sends for an errand."""
        errands = self.world.errands
        match event.kind:
            case "backfill":
                errands.backfill(event.amount)
            case "export":
                self.world.export()
            case "export load":
                errands.load_export(event.amount)
            case "tamper":
                errands.tamper(event.item, event.amount)
            case "audit":
                errands.audit(repair=event.amount % 2 == 0)
            case "replay":
                errands.replay()
            case "rebuild":
                errands.rebuilds.begin()
            case "end rebuild":
                errands.rebuilds.end(event.amount)
            case kind:
                errands.verify(repair=kind == "repair")

    def _fall_behind(self) -> None:
        """The consumers stand still for 19 hours and then meet an index that refuses for longer than old records are
        tried; a second time would be a gap."""
        if not self.fell_behind:
            self.fell_behind = True
            self.world.clock.sleep(19 * 3600.0)
            self.world.block(INDICES[0], 1200.0)

    def _to_an_item(self, event: Event) -> None:
        key = key_of(event.item)
        match event.kind:
            case "delete":
                self.world.table.delete(key)
            case "expire":
                self.world.table.expire(key)
            case _:
                for _ in range(event.amount if event.kind == "burst" else 1):
                    self.world.put(key)

    def _begin_anew(self, event: Event) -> None:
        """Two streams of one minute could not be told apart: see docs/guarantees.md."""
        table = self.world.table
        self._run_minute()
        if event.kind == "new stream":
            table.disable_stream()
            self._run_minute()
            table.enable_stream(self.plan.view)
        else:
            table.drop()
            self._run_minute()
            table.create(self.plan.view)

    def _run_minute(self) -> None:
        self.world.clock.sleep(61.0)

    def _reshard(self, event: Event) -> None:
        stream = self.world.kinesis.stream if self.world.kinesis else self.world.table.stream
        shards = sorted(stream.open_shards, key=lambda shard: shard.low)
        place = event.item % len(shards)
        if event.kind == "split" and len(shards) < 4:
            stream.split(shards[place])
        elif event.kind == "merge" and len(shards) > 1:
            place = min(place, len(shards) - 2)
            stream.merge(shards[place], shards[place + 1])
        else:
            stream.roll(shards[place])

    def _to_a_worker(self, event: Event) -> None:
        kcl = self.world.kcl
        if kcl is None:
            return
        if event.kind == "new worker" or not kcl.workers:
            self.world.new_worker()
            return
        worker = kcl.workers[event.item % len(kcl.workers)]
        match event.kind:
            case "crash":
                kcl.crash(worker.id)
                self.world.new_worker(worker.id)
            case "freeze":
                kcl.freeze(worker.id, event.amount * 10.0)
            case "hand over":
                kcl.hand_over(worker.id)
                self.world.new_worker()


@dataclass(frozen=True)
class _Restless:
    """The table's items, while somebody writes to them."""

    table: Items
    write: Callable[[Sequence[RawItem]], None]

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        found = self.table.read(table, keys, deadline)
        self.write(keys)
        return found


def _no_reader(batch: FailedBatch, deadline: Deadline) -> ReadBack:
    raise AssertionError(f"{batch.first} has {deadline.remaining_seconds} s: failure records of S3 have their payload")


def smallest(plan: Plan, fails: Callable[[Plan], bool] | None = None) -> tuple[int, ...]:
    """The places of as few events of a plan as still fail (`fails`: break the promise), for `Plan.with_events`.

    Ever smaller runs of events are left out: one event less and it no longer fails.
    """
    fails = fails or (lambda fewer: bool(simulate(fewer).violations))
    places = tuple(range(len(plan.events)))
    size = len(places) // 2
    while size:
        start, before = 0, places
        while start < len(places):
            fewer = places[:start] + places[start + size :]
            if fails(plan.with_events(fewer)):
                places = fewer
            else:
                start += size
        if size > 1 or places == before:
            size //= 2
    return places


def simulate_seed(seed: int) -> Report:
    """Draw the plan of a seed, and run it."""
    return simulate(draw_plan(seed))
