"""The benchmarks' figures mean what they say. The figures themselves are no test's business."""

from __future__ import annotations

import boto3
import pytest

from benchmarks.growth import slope
from benchmarks.orders import record
from benchmarks.outputs import agree
from benchmarks.results import Goal, Spread
from benchmarks.side_by_side import Series, Turn, side_by_side
from benchmarks.streams_server import serving


def test_the_slope_is_the_exponent() -> None:
    assert slope([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert slope([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)
    assert slope([1, 10, 100], [5, 5, 5]) == pytest.approx(0)


def test_a_ratio_is_of_neighbouring_turns() -> None:
    """A machine that is slow for a while slows both: each turn is compared with the one beside it."""
    slow, fast = (Series(tuple(Turn(cpu, cpu) for cpu in cpus)) for cpus in ((2.0, 20.0, 2.0), (1.0, 10.0, 1.0)))
    assert slow.times(fast) == Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("goal", "verdict", "far"),
    [
        (Goal("", 5.0, least=5), "met", False),
        (Goal("", 4.1, least=5), "near", False),
        (Goal("", 2.4, least=5), "missed", True),
        (Goal("", 2.5, most=2.5), "met", False),
        (Goal("", 3.0, most=2.5), "near", False),
        (Goal("", 5.1, most=2.5), "missed", True),
    ],
)
def test_a_goal_is_met_near_or_missed(goal: Goal, verdict: str, far: bool) -> None:
    assert (goal.verdict, goal.is_far) == (verdict, far)


def test_every_contender_has_as_many_turns() -> None:
    done: list[str] = []
    series = side_by_side({name: lambda name=name: done.append(name) for name in "ab"}, rounds=3, turn_seconds=1e-6)  # type: ignore[misc]
    assert {name: len(one.turns) for name, one in series.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize("shape", ["flat", "order", "large", "wide"])
def test_contenders_make_the_documents_that_we_make(shape: str) -> None:
    assert agree(shape)


def test_each_full_stream_tells_of_every_order_once() -> None:
    arns = [
        f"arn:aws:dynamodb:us-east-1:000000000000:table/{name}/stream/2026-01-01T00:00:00.000"
        for name in ("one", "two")
    ]
    with serving(arns, 1_200) as url:
        client = boto3.client(
            "dynamodbstreams",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        assert [stream["StreamArn"] for stream in client.list_streams()["Streams"]] == arns
        (listed,) = client.list_streams(TableName="two")["Streams"]
        (shard,) = client.describe_stream(StreamArn=listed["StreamArn"])["StreamDescription"]["Shards"]

        def numbers(**position: str) -> list[str]:
            found: list[str] = []
            given = client.get_shard_iterator(StreamArn=arns[1], ShardId=shard["ShardId"], **position)  # type: ignore[arg-type]
            iterator = given["ShardIterator"]
            while (page := client.get_records(ShardIterator=iterator))["Records"]:
                assert len(page["Records"]) <= 1000
                found += [one["dynamodb"]["SequenceNumber"] for one in page["Records"]]
                iterator = page["NextShardIterator"]
            return found

        expected = [record(number)["dynamodb"]["SequenceNumber"] for number in range(1_200)]
        assert numbers(ShardIteratorType="TRIM_HORIZON") == expected == sorted(expected, key=int)
        assert numbers(ShardIteratorType="AFTER_SEQUENCE_NUMBER", SequenceNumber=expected[7]) == expected[8:]
        assert numbers(ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=expected[7]) == expected[7:]
        assert numbers(ShardIteratorType="LATEST") == []
