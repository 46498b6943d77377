"""Rounds of chaos that are part of the tests: a fault drawn by the day, one item 100 times, a load, a rebuild."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from local.emulator import LambdaFunction
from local.lambda_here import CHANGES
from local.servers import Servers
from tests.chaos import rebuilds
from tests.chaos.backfills import WAYS, play_backfill
from tests.chaos.consumer import Deployment
from tests.chaos.faults import FAULTS, HUNDRED_WRITES, Fault, ask
from tests.chaos.judge import expected_of, judge
from tests.chaos.rounds import drawn, play
from tests.chaos.world import World, world

SEED = int(f"{datetime.now(UTC):%Y%m%d}")
TODAYS = next(fault for fault in drawn(SEED, len(FAULTS)) if fault != HUNDRED_WRITES)


@pytest.fixture(scope="module")
def chaos(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The tests' AWS, and an OpenSearch of its own, which may be killed."""
    run: Path = tmp_path_factory.mktemp("chaos")
    with world(servers.aws, run) as made:
        yield made


@pytest.mark.turn("chaos")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "fault",
    [TODAYS, HUNDRED_WRITES],
    ids=[f"seed {SEED}", "one item 100 times"],
)
def test_nothing_is_lost_stale_or_twice(chaos: World, fault: Fault) -> None:
    deployment = Deployment.make(chaos)
    print(f"seed {SEED}: {fault.name}")
    result = play(deployment, fault, SEED)
    assert result.changes > 500


@pytest.mark.turn("chaos")
@pytest.mark.timeout(600)
def test_a_full_table_is_loaded_whole_while_everything_goes_wrong(chaos: World) -> None:
    ways = [way for way in WAYS if way != "kinesis"]  # LocalStack's Kinesis takes a core of its own for that
    way = ways[SEED % len(ways)]
    print(f"seed {SEED}: {way}")
    played = play_backfill(chaos, 1500, way, SEED, batches_per_second=5)
    assert played.documents > 300
    assert played.loaded > 300


@pytest.mark.turn("chaos")
@pytest.mark.timeout(900)
def test_a_rebuild_is_whole_and_searched_while_everything_goes_wrong(
    chaos: World, in_lambda: Callable[..., LambdaFunction]
) -> None:
    way = rebuilds.WAYS[SEED % len(rebuilds.WAYS)]
    print(f"seed {SEED}: {way}")
    launch = partial(_launched, in_lambda)
    played = rebuilds.play_rebuild(chaos, way, SEED, launch, batches_per_second=5)
    assert played.documents > 300
    assert played.kills >= 3


def _launched(in_lambda: Callable[..., LambdaFunction], _folder: Path, environment: dict[str, str]) -> LambdaFunction:
    return in_lambda(CHANGES, environment)


def test_the_verdict_names_what_is_missing_stale_extra_lost_and_dead(chaos: World) -> None:
    deployment = Deployment.make(chaos)
    dynamodb, s3 = chaos.client("dynamodb"), chaos.client("s3")
    for name in ("right", "stale", "missing"):
        dynamodb.put_item(TableName=deployment.name, Item={"pk": {"S": name}, "sk": {"S": "x"}, "n": {"N": "2"}})
    for name, number in (("right", 2), ("stale", 1), ("extra", 2)):
        document = json.dumps({"pk": name, "sk": "x", "n": number}).encode()
        ask(f"{chaos.opensearch.url}/{deployment.name}/_doc/{name}%7Cx", "PUT", document)
    s3.put_object(Bucket=deployment.name, Key="dead-letters/one.json", Body=b"{}")
    expected = expected_of(deployment)
    lost = [f"change {sequence}: stream only" for sequence in sorted(expected.changes)]
    assert len(lost) == 3
    assert judge(deployment, expected, order_as_read=True).differences == [
        "document extra|x: table has none, index n=2",
        "document missing|x: table n=2, index has none",
        "document stale|x: table n=2, index n=1",
        *lost,
        "dead letter dead-letters/one.json",
        "the archive reads as 0 changes, not each once in order",
    ]


def test_twenty_rounds_meet_every_fault_that_strikes_alone_and_no_fault_twice() -> None:
    faults = drawn(SEED, 20)
    assert len({fault.name for fault in faults}) == 20
    assert {fault for fault in FAULTS if "killed in it" not in fault.name} <= set(faults)
    assert drawn(SEED, 20) == faults != drawn(SEED + 1, 20)
