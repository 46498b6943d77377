"""How often the KCL reads a shard: at once while there is a backlog, at the usual pace at the tip."""

from __future__ import annotations

import pytest

from consumers.kcl.sources.read_pacing import is_behind

IDLE = 1000
FULL = 1000


@pytest.mark.parametrize(
    ("count", "millis_behind"),
    [
        pytest.param(1000, 0, id="a full batch, however young"),
        pytest.param(1, 60_000, id="one record that is a minute old"),
        pytest.param(0, 60_000, id="an empty page far from a Kinesis stream's tip"),
    ],
)
def test_a_shard_with_a_backlog_is_read_on_at_once(count: int, millis_behind: int) -> None:
    assert is_behind(count, millis_behind, IDLE, FULL)


@pytest.mark.parametrize(
    ("count", "millis_behind"),
    [
        pytest.param(0, None, id="DynamoDB Streams say nothing of an empty page"),
        pytest.param(0, 0, id="the tip of a Kinesis stream"),
        pytest.param(5, 1500, id="what was written within two usual waits is no backlog"),
        pytest.param(None, None, id="after a read that failed or was throttled"),
    ],
)
def test_at_the_tip_and_after_a_failure_the_usual_wait_is_kept(count: int | None, millis_behind: int | None) -> None:
    assert not is_behind(count, millis_behind, IDLE, FULL)


def test_with_a_short_wait_records_still_get_time_to_arrive() -> None:
    assert not is_behind(1, 1999, 200, FULL)
    assert is_behind(1, 2001, 200, FULL)
