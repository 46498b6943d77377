"""Rounds of chaos that are part of the tests: the consumer killed, a fault drawn by the day, one item 100 times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.servers import Servers
from tests.chaos.consumer import Deployment
from tests.chaos.faults import CONSUMER_KILLED, FAULTS, HUNDRED_WRITES, Fault
from tests.chaos.rounds import drawn, play
from tests.chaos.world import World, world

SEED = int(f"{datetime.now(UTC):%Y%m%d}")
TODAYS = next(fault for fault in drawn(SEED, len(FAULTS)) if fault not in (CONSUMER_KILLED, HUNDRED_WRITES))


@pytest.fixture(scope="module")
def chaos(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The tests' LocalStack, and an OpenSearch of its own, which may be killed."""
    run: Path = tmp_path_factory.mktemp("chaos")
    with world(servers.localstack, run) as made:
        yield made


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "fault",
    [CONSUMER_KILLED, TODAYS, HUNDRED_WRITES],
    ids=["the consumer killed", f"seed {SEED}", "one item 100 times"],
)
def test_nothing_is_lost_stale_or_twice(chaos: World, fault: Fault) -> None:
    deployment = Deployment.make(chaos)
    print(f"seed {SEED}: {fault.name}")
    result = play(deployment, fault, SEED)
    assert result.changes > 500


def test_twenty_rounds_meet_every_fault_that_strikes_alone_and_no_fault_twice() -> None:
    faults = drawn(SEED, 20)
    assert len({fault.name for fault in faults}) == 20
    assert {fault for fault in FAULTS if "killed in it" not in fault.name} <= set(faults)
    assert drawn(SEED, 20) == faults != drawn(SEED + 1, 20)
