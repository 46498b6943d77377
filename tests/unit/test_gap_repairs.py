"""Gap repairs: a gap is mended by a verification of the whole table; what is due survives the process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import tenacity

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.delivery.consumer_state import Running
from cdc.errors import SinkUnavailable
from cdc.testing import SimulatedClock, SimulatedS3
from cdc.verification.findings import Findings
from consumers.http.health import Health
from consumers.kcl.gap_repairs import GapRepairs
from consumers.kcl.leases.gaps import Gap, Gaps

STREAM = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-01T00:00:00.000"
GAP = Gap(STREAM, "shop", "shardId-00000001700000000000-aaaa", "17", whole_shard=False)


def findings(table: str, left: int = 0) -> Findings:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Findings(table, ("orders",), True, now, now, 3, 3, 3 - left, {"missing": left}, left=left)


@pytest.fixture
def letters() -> S3DeadLetters:
    return S3DeadLetters(SimulatedS3(SimulatedClock()), "letters")  # type: ignore[arg-type]


class Repairs:
    """Answers of the repair, one after the other; the last again and again."""

    def __init__(self, *answers: Findings | SinkUnavailable) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, table: str) -> Findings:
        self.asked.append(table)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SinkUnavailable):
            raise answer
        return answer


def repairs_of(
    letters: S3DeadLetters, running: Running, repair: Repairs, sources: dict[str, Sequence[str]] | None = None
) -> GapRepairs:
    return GapRepairs(running, letters, repair, sources or {"shop": ("shop",)}, again_seconds=0.01)


def test_a_gap_is_repaired_and_its_letter_is_gone(letters: S3DeadLetters) -> None:
    running = Running()
    repair = Repairs(findings("shop"))
    repairs = repairs_of(letters, running, repair)
    Gaps(running, letters, then=repairs.found).found(GAP)
    assert list(letters.keys("shop"))
    assert repairs.repaired("shop")
    assert repair.asked == ["shop"]
    assert not list(letters.keys("shop"))
    assert running.repairing == {}


def test_until_it_is_repaired_the_consumer_is_degraded(letters: S3DeadLetters) -> None:
    running = Running(alive=lambda: True)
    health = Health(running, dict, lambda: 0)
    repairs = repairs_of(letters, running, Repairs(findings("shop")))
    assert health.ready().ok
    repairs.found("shop")
    report = health.ready()
    assert not report.ok
    assert report.body["state"] == "degraded"
    assert report.body["degraded"][0]["table"] == "shop"
    repairs.repaired("shop")
    assert health.ready().ok


@pytest.mark.parametrize("answer", [findings("shop", left=2), SinkUnavailable("opensearch", "out of reach")])
def test_a_repair_that_leaves_something_keeps_the_letter(
    letters: S3DeadLetters, answer: Findings | SinkUnavailable
) -> None:
    running = Running()
    repairs = repairs_of(letters, running, Repairs(answer))
    Gaps(running, letters, then=repairs.found).found(GAP)
    assert not repairs.repaired("shop")
    assert len(list(letters.keys("shop"))) == 1
    assert "shop" in running.repairing


def test_a_repair_that_was_killed_begins_again_in_the_next_process(letters: S3DeadLetters) -> None:
    Gaps(Running(), letters).found(GAP)
    running = Running()
    repair = Repairs(SinkUnavailable("opensearch", "out of reach"), findings("shop"))
    repairs_of(letters, running, repair).start()
    for attempt in tenacity.Retrying(stop=tenacity.stop_after_delay(30), wait=tenacity.wait_fixed(0.01)):
        with attempt:
            assert not running.repairing
            assert not list(letters.keys("shop"))
    running.ask_stop()
    assert repair.asked == ["shop", "shop"]


def test_a_gap_of_a_kinesis_stream_is_of_every_table_that_it_carries(letters: S3DeadLetters) -> None:
    running = Running()
    repair = Repairs(findings("any"))
    repairs = repairs_of(letters, running, repair, {"changes": ("shop", "users")})
    repairs.found("changes")
    assert repairs.repaired("changes")
    assert repair.asked == ["shop", "users"]


def test_other_dead_letters_of_the_table_stay(letters: S3DeadLetters) -> None:
    letters.client.put_object(Bucket="letters", Key="dead-letters/table=shop/other.json", Body=b"{}")
    repairs = repairs_of(letters, Running(), Repairs(findings("shop")))
    repairs.repaired("shop")
    assert list(letters.keys("shop")) == ["table=shop/other.json"]
