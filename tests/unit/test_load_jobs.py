"""Jobs: plans, cursors and steps, kept in S3 or in a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.jobs import FolderObjects, Jobs, S3Objects
from cdc.loads.plan import Cursor, Plan, units_of
from cdc.testing import Faults, SimulatedClock, SimulatedS3


def plan_of(job: str) -> Plan:
    return Plan(
        job=job,
        table="shop",
        table_id="one",
        stream="arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-01T00:00:00.000",
        began_at=datetime(2026, 1, 1, tzinfo=UTC),
        mapping="abc",
        indices=("orders",),
        units=3,
        items=10,
        size_bytes=1000,
        read_units=1.0,
        dollars=0.0,
    )


@pytest.fixture(params=["s3", "folder"])
def jobs(request: pytest.FixtureRequest, tmp_path: Path) -> Jobs:
    if request.param == "folder":
        return Jobs(FolderObjects(tmp_path))
    return Jobs(S3Objects(SimulatedS3(SimulatedClock()), "lake", "cdc/jobs/"))  # type: ignore[arg-type]


def test_a_plan_is_read_back_with_its_units(jobs: Jobs) -> None:
    jobs.create(plan_of("one"), units_of(3))
    plan, units = jobs.plan("shop", "one")
    assert plan == plan_of("one")
    assert list(units) == list(units_of(3))


def test_a_load_that_nobody_began_is_named(jobs: Jobs) -> None:
    with pytest.raises(ConfigError, match="there is no load two of shop"):
        jobs.plan("shop", "two")


def test_the_newest_cursor_of_a_unit_counts(jobs: Jobs) -> None:
    plan = plan_of("one")
    jobs.create(plan, units_of(3))
    jobs.save(plan, Cursor("segment-000001", items=5))
    jobs.save(plan, Cursor("segment-000001", after={"pk": {"S": "a"}}, items=9, outcomes={"applied": 9}))
    assert jobs.cursors("shop", "one") == {
        "segment-000001": Cursor("segment-000001", after={"pk": {"S": "a"}}, items=9, outcomes={"applied": 9})
    }


def test_the_newest_job_that_is_neither_finished_nor_aborted_is_taken_up(jobs: Jobs) -> None:
    for name in ("20260101", "20260102", "20260103"):
        jobs.create(plan_of(name), units_of(3))
    jobs.did(plan_of("20260103"), "aborted")
    assert jobs.of_table("shop") == ["20260101", "20260102", "20260103"]
    assert jobs.unfinished("shop") == "20260102"
    jobs.did(plan_of("20260102"), "finished")
    assert jobs.unfinished("shop") == "20260101"
    assert jobs.unfinished("other") is None


def test_a_step_keeps_what_was_recorded_with_it(jobs: Jobs) -> None:
    jobs.create(plan_of("one"), units_of(3))
    jobs.did(plan_of("one"), "verified", b'{"equal": 1}')
    assert jobs.steps("shop", "one") == {"verified"}
    assert jobs.result("shop", "one", "verified") == b'{"equal": 1}'
    assert jobs.result("shop", "one", "loaded") is None


def test_a_broken_connection_ends_no_load() -> None:
    clock, faults = SimulatedClock(), Faults(seed=1, rate=0.5)
    objects = S3Objects(SimulatedS3(clock, faults), "lake", "cdc/jobs/", clock.sleep)  # type: ignore[arg-type]
    for number in range(20):
        objects.write(f"shop/{number:02d}", b"1")
        assert objects.read(f"shop/{number:02d}") == b"1"
    assert list(objects.names("shop/")) == [f"shop/{number:02d}" for number in range(20)]
    assert faults.counts


def test_s3_that_answers_nothing_is_told_in_the_end() -> None:
    clock, faults = SimulatedClock(), Faults(seed=1, rate=1.0)
    objects = S3Objects(SimulatedS3(clock, faults), "lake", "cdc/jobs/", clock.sleep)  # type: ignore[arg-type]
    with pytest.raises(SinkUnavailable, match="s3://lake/cdc/jobs/shop/1 can't be"):
        objects.write("shop/1", b"1")
