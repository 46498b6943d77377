"""Jobs: plans, cursors and steps, kept in S3 or in a folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.loads.jobs import FolderObjects, Jobs, S3Objects
from cdc.loads.plan import Cursor, Plan, units_of
from cdc.testing import SimulatedClock, SimulatedS3


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
