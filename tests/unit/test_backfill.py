"""Backfill: bad input is refused in one line, a load that can't go on says so, and one that was killed goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.backfill import Backfill, BackfillResult, LoadOptions, StepBegan
from cdc.loads.jobs import FolderObjects, Jobs
from cdc.loads.plan import Cursor
from cdc.loads.table import DynamoDBPages
from cdc.loads.unit import HELD_SECONDS, LoadStopped, PageDone
from tests.loading import LoadedTable
from tests.verifying import World, compiled_of

TRIES = 3
ROOT = Path(__file__).parents[2]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(FolderObjects(tmp_path))


@pytest.fixture
def world() -> World:
    """A table that was full before anybody followed it: nothing of it was indexed."""
    world = World()
    for number in range(40):
        world.put(f"item {number}", total=number)
    world.skip()
    world.clock.sleep(2)  # a scan sees all of it by now
    return world


def load_of(
    deployment: Any, jobs: Jobs, observe: Callable[[object], None] = lambda _fact: None, **options: Any
) -> Backfill:
    return Backfill(deployment, jobs, LoadOptions(**{"workers": 1, **options}), observe=observe)


def begun(load: Backfill) -> str:
    plan, units = load.planner.of_table("shop")
    load.begin(plan, units)
    return plan.job


def loaded(load: Backfill, **options: Any) -> BackfillResult:
    return load.run("shop", begun(load), **options)


class StopsAfter:
    """Stops the load once so many pages are done; counts them, and their read units."""

    def __init__(self, pages: int) -> None:
        self.stop = Event()
        self.pages = pages
        self.read_units = 0.0

    def __call__(self, fact: object) -> None:
        if isinstance(fact, PageDone):
            self.read_units += fact.read_units
            self.pages -= 1
            if self.pages == 0:
                self.stop.set()


def stopped(world: World, jobs: Jobs, pages: int = 3) -> tuple[str, StopsAfter]:
    """A load that was stopped behind some pages."""
    until = StopsAfter(pages)
    load = Backfill(world.deployment, jobs, LoadOptions(workers=1), until.stop, until)
    job = begun(load)
    with pytest.raises(LoadStopped):
        load.run("shop", job)
    return job, until


def test_a_full_table_is_loaded_and_found_equal(world: World, jobs: Jobs) -> None:
    steps: list[str] = []

    def observe(fact: object) -> None:
        if isinstance(fact, StepBegan):
            steps.append(fact.step)

    result = loaded(load_of(world.deployment, jobs, observe))
    assert result.findings is not None
    assert result.findings.verdict == "40 items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"
    assert (result.loaded.items, result.loaded.outcomes) == (40, {"applied": 40})
    assert steps == ["load", "ghosts", "verify"]


# --- before it begins


def test_a_table_without_a_stream_is_refused_with_the_command_that_switches_it_on(world: World, jobs: Jobs) -> None:
    world.table.disable_stream()
    with pytest.raises(ConfigError, match=r"(?s)aws dynamodb update-table --table-name shop --stream-specification"):
        load_of(world.deployment, jobs).planner.of_table("shop")


def test_an_index_that_the_mapping_does_not_name_is_refused_with_those_that_it_names(world: World, jobs: Jobs) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no document of shop is for the index nowhere .shop.yml.*orders"):
        load_of(world.deployment, jobs, index="nowhere").planner.of_table("shop")


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
def test_a_table_that_may_not_be_read_is_told_with_the_permission(code: str) -> None:
    class Refusing:
        def scan(self, **_asked: Any) -> Any:
            raise ClientError({"Error": {"Code": code, "Message": "not authorized"}}, "Scan")

    with pytest.raises(ConfigError, match=r"(?s)shop can't be read: \w+.*dynamodb:Scan on shop"):
        DynamoDBPages(Refusing()).page("shop", 0, 1, None)  # type: ignore[arg-type]


# --- while it runs


def test_a_table_that_was_made_anew_is_not_loaded_on(world: World, jobs: Jobs) -> None:
    job, _ = stopped(world, jobs)
    world.table.drop()
    world.table.create()
    with pytest.raises(
        ConfigError, match=r"(?s)shop was replaced since the load .* began.*backfill abort --table shop"
    ):
        load_of(world.deployment, jobs).run("shop", job)
    assert not jobs.steps("shop", job)


def test_a_stream_that_was_off_for_a_while_ends_the_load(world: World, jobs: Jobs) -> None:
    job, _ = stopped(world, jobs)
    world.table.disable_stream()
    with pytest.raises(
        ConfigError, match=r"(?s)is not on any more: changes may have been made that no stream tells of"
    ):
        load_of(world.deployment, jobs).run("shop", job)
    world.clock.sleep(1)
    world.table.enable_stream()
    with pytest.raises(ConfigError, match=r"(?s)is not on any more"):
        load_of(world.deployment, jobs).run("shop", job)


def off_and_on(world: World) -> None:
    world.table.disable_stream()
    world.put("item 0", total=-1)
    world.clock.sleep(1)
    world.table.enable_stream()


def anew(world: World) -> None:
    world.table.drop()
    world.clock.sleep(1)
    world.table.create()


@pytest.mark.parametrize("happens", [off_and_on, anew])
def test_what_happens_to_the_table_with_the_last_page_is_seen_before_the_load_counts_as_done(
    world: World, jobs: Jobs, happens: Callable[[World], None]
) -> None:
    pages = 0

    def observe(fact: object) -> None:
        nonlocal pages
        pages += isinstance(fact, PageDone)
        if pages == 1 and isinstance(fact, PageDone):
            happens(world)

    load = load_of(world.deployment, jobs, observe)
    job = begun(load)
    with pytest.raises(ConfigError, match=r"(?s)is not on any more|was replaced"):
        load.run("shop", job, verify=False)
    assert not jobs.steps("shop", job)


class Failing:
    """Pages that fail so often, each time by this error, before they are read."""

    def __init__(self, pages: Any, error: Exception, times: int) -> None:
        self._pages = pages
        self._error = error
        self.left = times

    def describe(self, table: str) -> Any:
        return self._pages.describe(table)

    def page(self, *asked: Any, **options: Any) -> Any:
        if self.left > 0:
            self.left -= 1
            raise self._error
        return self._pages.page(*asked, **options)


EXPIRED = SinkUnavailable("table", "ExpiredTokenException", kind=CauseKind.AWS_REFUSED)
AWAY = SinkUnavailable("table", "ConnectionClosedError", kind=CauseKind.OUT_OF_REACH)
THROTTLED = SinkUnavailable("table", "ThrottlingException", kind=CauseKind.OVERLOADED)
EVER = 1_000_000


@pytest.mark.parametrize("error", [EXPIRED, AWAY], ids=["credentials expire", "out of reach"])
def test_a_table_that_cannot_be_read_any_more_ends_the_load_in_bounded_time(
    world: World, jobs: Jobs, error: SinkUnavailable
) -> None:
    job, _ = stopped(world, jobs)
    began = world.clock()
    deployment = replace(world.deployment, pages=Failing(world.deployment.pages, error, EVER))
    with pytest.raises(SinkUnavailable, match=error.cause.text):
        load_of(deployment, jobs).run("shop", job)
    assert world.clock() - began < 700
    assert load_of(world.deployment, jobs).run("shop", job).loaded.items == 40


@pytest.mark.parametrize(("error", "times"), [(AWAY, 12), (THROTTLED, 200)], ids=["out of reach", "throttled"])
def test_a_table_that_is_read_again_after_a_while_does_not_end_the_load_and_the_wait_is_told(
    world: World, jobs: Jobs, error: SinkUnavailable, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = replace(world.deployment, pages=Failing(world.deployment.pages, error, times))
    assert loaded(load_of(deployment, jobs), verify=False).loaded.items == 40
    assert f"asked for the 10th time: {error.cause.text}" in caplog.text


def test_a_changed_mapping_ends_the_load(world: World, jobs: Jobs) -> None:
    job, _ = stopped(world, jobs)
    world.compiled = compiled_of("[{index: orders, on_remove: keep}]")
    with pytest.raises(ConfigError, match=r"(?s)shop.yml: the mapping has changed since the load .* began"):
        load_of(world.deployment, jobs).run("shop", job)


def test_an_index_that_refuses_writes_ends_the_load_in_bounded_time_and_it_goes_on_when_that_is_mended() -> None:
    table = LoadedTable()
    table.table.put(("a", "x"), {"n": 1})
    table.clock.sleep(2)
    jobs = Jobs(_Memory())
    load = load_of(table.deployment, jobs)
    job = begun(load)
    table.server.block("orders-v1", blocked=True)
    began = table.clock()
    with pytest.raises(ConfigError, match=r"(?s)the load stands still: .*cdc backfill resume --table shop"):
        load.run("shop", job)
    assert table.clock() - began < (TRIES + 0.5) * HELD_SECONDS
    assert not any(cursor.items for cursor in jobs.cursors("shop", job).values())
    table.server.block("orders-v1", blocked=False)
    assert load.run("shop", job).loaded.outcomes == {"applied": 1}
    assert table.documents() == table.wanted()


class _Memory:
    """Objects of jobs in memory."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.held.get(name)

    def write(self, name: str, body: bytes) -> None:
        self.held[name] = body

    def names(self, prefix: str) -> Any:
        return iter(sorted(name for name in self.held if name.startswith(prefix)))


# --- stopped, killed, twice


def test_a_load_that_was_stopped_goes_on_behind_the_pages_that_are_done(world: World, jobs: Jobs) -> None:
    job, first = stopped(world, jobs, pages=5)
    done = sum(cursor.items for cursor in jobs.cursors("shop", job).values())
    second = StopsAfter(0)
    result = load_of(world.deployment, jobs, second).run("shop", job)
    assert result.loaded.items == 40
    assert 0 < done < 40
    assert result.loaded.read_units == first.read_units + second.read_units
    assert result.findings is not None
    assert result.findings.verdict == "40 items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"


def test_a_load_that_is_taken_up_while_opensearch_restarts_waits_for_it(world: World, jobs: Jobs) -> None:
    job, _ = stopped(world, jobs)
    restarting = [SinkUnavailable("opensearch", "no connection", kind=CauseKind.OUT_OF_REACH) for _ in range(TRIES)]

    def prepare(*asked: Any, **options: Any) -> Any:
        if restarting:
            raise restarting.pop()
        return world.deployment.prepare(*asked, **options)

    result = load_of(replace(world.deployment, prepare=prepare), jobs).run("shop", job)
    assert (restarting, result.loaded.items) == ([], 40)


def test_a_load_is_stopped_while_it_verifies_too(world: World, jobs: Jobs) -> None:
    stop = Event()

    def observe(fact: object) -> None:
        if isinstance(fact, StepBegan) and fact.step == "verify":
            stop.set()

    load = Backfill(world.deployment, jobs, LoadOptions(workers=1), stop, observe)
    job = begun(load)
    with pytest.raises(LoadStopped):
        load.run("shop", job)
    assert jobs.steps("shop", job) == {"loaded", "ghosts_closed"}
    assert load_of(world.deployment, jobs).run("shop", job).findings is not None
    assert jobs.unfinished("shop") is None


def test_two_loads_of_the_same_job_end_alike(world: World, jobs: Jobs) -> None:
    first: list[BackfillResult] = []
    inner = load_of(world.deployment, jobs)

    def observe(fact: object) -> None:
        if isinstance(fact, PageDone) and not first:
            first.append(inner.run("shop", job))

    load = load_of(world.deployment, jobs, observe)
    job = begun(load)
    second = load.run("shop", job)
    assert first[0].findings is not None
    assert second.findings is not None
    assert first[0].findings.counts == second.findings.counts == {}
    assert second.loaded.items == 40


def test_cursors_that_two_threads_write_at_once_are_whole(world: World, jobs: Jobs, tmp_path: Path) -> None:
    """A load that is run twice in one process writes the same names."""
    from concurrent.futures import ThreadPoolExecutor

    load = load_of(world.deployment, jobs)
    plan, _ = load.planner.of_table("shop")

    def write(number: int) -> None:
        for items in range(30):
            jobs.save(plan, Cursor("segment-000000", items=number * 100 + items))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert set(jobs.cursors("shop", plan.job)) == {"segment-000000"}


def test_an_aborted_load_is_not_taken_up(world: World, jobs: Jobs) -> None:
    job, _ = stopped(world, jobs)
    jobs.did(jobs.plan("shop", job)[0], "aborted")
    assert jobs.unfinished("shop") is None
    with pytest.raises(ConfigError, match=r"(?s)was aborted.*Begin a new one"):
        load_of(world.deployment, jobs).run("shop", job)


# --- through Kinesis
