"""The server of simulated streams answers as the Amazon DynamoDB Streams API reference says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cdc.records.change import StreamView
from cdc.testing import SimulatedClock, SimulatedTable
from local.streams_server import Answered, Refusal, ServedStream, StreamsServer

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/shop/stream/2026-01-15T09:30:00.123"
HOUR = 3600.0


class World:
    """A table, the server of its stream, and boto3's client of that."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.table = SimulatedTable("shop", self.clock, random.Random(1))  # noqa: S311  (not a secret)
        self.stream = self.table.stream
        self.server = StreamsServer(self.clock, shards_per_page=3)
        self.server.serve(ServedStream(ARN, self.stream, self.table.keys))
        self.client: Any = None

    def put(self, *numbers: int, size: int = 1) -> list[str]:
        """Write items; return the sequence numbers."""
        writes = [self.table.put((str(number), number), {"n": number, "text": "x" * size}) for number in numbers]
        return [write.sequence for write in writes if write]

    def described(self, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.client.describe_stream(StreamArn=ARN, **more)["StreamDescription"]
        return found

    def iterator(self, kind: str, shard: str = "", **more: Any) -> str:
        shard = shard or self.stream.shards[0].id
        answer = self.client.get_shard_iterator(StreamArn=ARN, ShardId=shard, ShardIteratorType=kind, **more)
        return str(answer["ShardIterator"])

    def read(self, kind: str, shard: str = "", **more: Any) -> list[str]:
        """The sequence numbers of the first page behind an iterator."""
        page = self.client.get_records(ShardIterator=self.iterator(kind, shard, **more))
        return [record["dynamodb"]["SequenceNumber"] for record in page["Records"]]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.server.running() as url:
        made.client = boto3.client(
            "dynamodbstreams",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield made


def refused(call: Callable[..., object], *arguments: Any, **more: Any) -> str:
    """The name of the error that a call is answered by."""
    with pytest.raises(ClientError) as raised:
        call(*arguments, **more)
    return str(raised.value.response["Error"]["Code"])


def test_a_stream_is_listed_by_its_table(world: World) -> None:
    (stream,) = world.client.list_streams(TableName="shop")["Streams"]
    assert stream == {"StreamArn": ARN, "TableName": "shop", "StreamLabel": "2026-01-15T09:30:00.123"}
    assert world.client.list_streams(TableName="other")["Streams"] == []
    world.server.serve(ServedStream(f"{ARN[:-3]}456", world.stream))
    page = world.client.list_streams(Limit=1)
    assert page["LastEvaluatedStreamArn"] == ARN
    (second,) = world.client.list_streams(Limit=1, ExclusiveStartStreamArn=ARN)["Streams"]
    assert second["StreamArn"] == f"{ARN[:-3]}456"


def test_a_description_names_the_schema_the_view_and_the_lineage_of_shards(world: World) -> None:
    numbers = world.put(1, 2, 3)
    parent = world.stream.shards[0]
    world.stream.split(parent)
    found = world.described()
    assert [key["AttributeName"] for key in found["KeySchema"]] == ["pk", "sk"]
    assert [key["KeyType"] for key in found["KeySchema"]] == ["HASH", "RANGE"]
    assert (found["StreamViewType"], found["StreamStatus"]) == ("NEW_AND_OLD_IMAGES", "ENABLED")
    assert found["CreationRequestDateTime"].isoformat() == "2026-01-15T09:30:00.123000+00:00"
    first, *children = found["Shards"]
    assert first["SequenceNumberRange"] == {
        "StartingSequenceNumber": numbers[0],
        "EndingSequenceNumber": numbers[-1],
    }
    assert "ParentShardId" not in first
    assert [child["ParentShardId"] for child in children] == [parent.id, parent.id]
    for child in children:
        (start,) = child["SequenceNumberRange"].values()  # it is open
        assert int(start) > int(numbers[-1])


def test_shards_are_described_in_pages_and_by_their_parent(world: World) -> None:
    for _ in range(3):
        world.stream.split(world.stream.open_shards[-1])
    pages = [world.described()]
    while start := pages[-1].get("LastEvaluatedShardId"):
        pages.append(world.described(ExclusiveStartShardId=start))
    assert [len(page["Shards"]) for page in pages] == [3, 3, 1]
    assert [shard["ShardId"] for page in pages for shard in page["Shards"]] == [one.id for one in world.stream.shards]
    assert len(world.described(Limit=2)["Shards"]) == 2
    parent = world.stream.shards[2].id
    found = world.described(ShardFilter={"Type": "CHILD_SHARDS", "ShardId": parent})["Shards"]
    assert [shard["ParentShardId"] for shard in found] == [parent, parent]
    assert refused(world.described, Limit=101) == "ValidationException"


def test_the_kinds_of_iterators(world: World) -> None:
    numbers = world.put(1, 2, 3)
    assert world.read("TRIM_HORIZON") == numbers
    assert world.read("AT_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == numbers[1:]
    assert world.read("AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[1]) == numbers[2:]
    latest = world.iterator("LATEST")
    assert world.read("LATEST") == []
    new = world.put(4)
    page = world.client.get_records(ShardIterator=latest)
    assert [record["dynamodb"]["SequenceNumber"] for record in page["Records"]] == new
    assert refused(world.iterator, "AT_SEQUENCE_NUMBER") == "ValidationException"


def test_records_have_whole_seconds_and_images_and_name_who_let_them_expire(world: World) -> None:
    world.table.put(("a", 1), {"raw": b"\x00\x01", "tags": {"b", "a"}})
    world.table.expire(("a", 1))
    page = world.client.get_records(ShardIterator=world.iterator("TRIM_HORIZON"))
    made, expired = page["Records"]
    assert made["dynamodb"]["NewImage"]["raw"] == {"B": b"\x00\x01"}
    assert made["dynamodb"]["ApproximateCreationDateTime"].timestamp() == int(world.clock())
    assert (made["awsRegion"], made["eventName"]) == ("us-east-1", "INSERT")
    assert made["dynamodb"]["SizeBytes"] > 50
    assert "userIdentity" not in made
    assert expired["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


def test_a_page_holds_1000_records_or_a_megabyte(world: World) -> None:
    world.put(*range(1100))
    first = world.client.get_records(ShardIterator=world.iterator("TRIM_HORIZON"))
    assert len(first["Records"]) == 1000
    assert len(world.client.get_records(ShardIterator=first["NextShardIterator"])["Records"]) == 100
    assert len(world.client.get_records(ShardIterator=world.iterator("TRIM_HORIZON"), Limit=7)["Records"]) == 7
    iterator = world.iterator("LATEST")
    assert refused(world.client.get_records, ShardIterator=iterator, Limit=1001) == "ValidationException"
    world.put(*range(2000, 2005), size=300_000)
    assert len(world.client.get_records(ShardIterator=iterator)["Records"]) == 3


def test_the_last_batch_of_a_closed_shard_has_no_next_iterator(world: World) -> None:
    world.put(1, 2)
    parent = world.stream.shards[0]
    iterator = world.iterator("TRIM_HORIZON")
    world.stream.roll(parent)
    page = world.client.get_records(ShardIterator=iterator, Limit=1)
    page = world.client.get_records(ShardIterator=page["NextShardIterator"])
    assert len(page["Records"]) == 1
    assert "NextShardIterator" not in page
    assert world.server.answered[-1] == Answered("GetRecords", parent.id, records=1, ended=True)
    empty = world.client.get_records(ShardIterator=world.iterator("LATEST"))
    assert "NextShardIterator" not in empty


def test_an_iterator_expires_after_a_quarter_of_an_hour(world: World) -> None:
    iterator = world.iterator("TRIM_HORIZON")
    world.clock.sleep(15 * 60)
    iterator = world.client.get_records(ShardIterator=iterator)["NextShardIterator"]
    world.clock.sleep(15 * 60 + 1)
    assert refused(world.client.get_records, ShardIterator=iterator) == "ExpiredIteratorException"
    assert refused(world.client.get_records, ShardIterator="nonsense") == "ValidationException"


def test_records_are_trimmed_after_a_day(world: World) -> None:
    old = world.put(1, 2)
    world.clock.sleep(24 * HOUR - 60)
    new = world.put(3)
    iterator = world.iterator("TRIM_HORIZON")
    world.clock.sleep(61)
    assert refused(world.client.get_records, ShardIterator=iterator) == "TrimmedDataAccessException"
    for kind in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
        assert refused(world.iterator, kind, SequenceNumber=old[0]) == "TrimmedDataAccessException"
    assert refused(world.iterator, "AT_SEQUENCE_NUMBER", SequenceNumber="1" * 21) == "TrimmedDataAccessException"
    assert world.read("TRIM_HORIZON") == world.read("AT_SEQUENCE_NUMBER", SequenceNumber=new[0]) == new


def test_a_closed_shard_and_a_disabled_stream_are_gone_after_a_day(world: World) -> None:
    parent = world.stream.shards[0]
    iterator = world.iterator("TRIM_HORIZON")
    child = world.stream.roll(parent)
    world.clock.sleep(24 * HOUR)
    (shard,) = world.described()["Shards"]
    assert (shard["ShardId"], shard["ParentShardId"]) == (child.id, parent.id)
    assert refused(world.iterator, "TRIM_HORIZON", parent.id) == "ResourceNotFoundException"
    world.table.disable_stream()
    assert world.described()["StreamStatus"] == "DISABLED"
    world.clock.sleep(24 * HOUR)
    assert world.client.list_streams()["Streams"] == []
    assert refused(world.described) == "ResourceNotFoundException"
    assert refused(world.client.get_records, ShardIterator=iterator) == "ExpiredIteratorException"


def test_what_happens_meanwhile_comes_first_and_may_be_the_answer(world: World) -> None:
    def meanwhile(operation: str, asked: Mapping[str, Any]) -> None:
        if operation == "DescribeStream" and asked.get("ExclusiveStartShardId"):
            raise Refusal("LimitExceededException", "slower")

    world.server.meanwhile = meanwhile
    assert world.described()["Shards"]
    assert refused(world.described, ExclusiveStartShardId=world.stream.shards[0].id) == "LimitExceededException"
    assert world.server.answered[-1] == Answered("DescribeStream", refused="LimitExceededException")


@pytest.mark.parametrize("view", list(StreamView))
def test_the_view_is_the_served_one(world: World, view: StreamView) -> None:
    world.server.serve(ServedStream(ARN, world.stream, ("id",), view))
    found = world.described()
    assert found["StreamViewType"] == view.value
    assert found["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
