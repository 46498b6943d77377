"""The local event source mapping on real streams: what it delivers, in what order, and where a poison batch ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cdc.errors import ConfigError
from cdc.records.change import Change
from cdc.records.decoding import read_lambda
from cdc.testing.simulated.batches import BatchRules
from consumers.aws_lambda.on_failure import read_on_failure
from local.event_source_mapping import FailureBucket, LocalEventSourceMapping
from local.stream_source import StreamSource
from tests.events import payload
from tests.integration.functions import following
from tests.integration.test_whole_way import await_equal, in_stream, lambda_record, write


@dataclass
class Function:
    """Keeps what it is given, and answers as told."""

    answer: Callable[[list[Any]], Any] = lambda _: {"batchItemFailures": []}
    batches: list[list[Any]] = field(default_factory=list)

    def __call__(self, event: dict[str, Any]) -> Any:
        self.batches.append(event["Records"])
        return self.answer(event["Records"])

    @property
    def records(self) -> list[Any]:
        return [record for batch in self.batches for record in batch]


def number(record: Any) -> str:
    return str(record["dynamodb"]["SequenceNumber"])


def test_a_stream_is_delivered_in_order_as_lambda_delivers_it(aws: Any, table: tuple[str, str]) -> None:
    function = Function()
    mapping = LocalEventSourceMapping(
        function, StreamSource(aws("dynamodbstreams"), table[1]), BatchRules(batch_size=25)
    )
    write(aws("dynamodb"), table[0], range(60))
    with following(mapping):
        await_equal(lambda: mapping.settled >= 60)
        write(aws("dynamodb"), table[0], range(60, 90))
        await_equal(lambda: mapping.settled >= 90)
    assert function.records == [
        lambda_record(record, table[1]) for record in in_stream(aws("dynamodbstreams"), table[1])
    ]
    assert max(map(len, function.batches)) == 25


def test_what_was_written_before_is_not_delivered_from_latest_on(aws: Any, table: tuple[str, str]) -> None:
    function = Function()
    source = StreamSource(aws("dynamodbstreams"), table[1], position="LATEST")
    write(aws("dynamodb"), table[0], range(5))
    source.poll()
    write(aws("dynamodb"), table[0], range(5, 10))
    mapping = LocalEventSourceMapping(function, source, BatchRules())
    with following(mapping):
        await_equal(lambda: mapping.settled >= 5)
    assert [record["dynamodb"]["NewImage"]["n"]["N"] for record in function.records] == ["5", "6", "7", "8", "9"]


def test_a_poison_batch_is_halved_and_ends_in_the_bucket_as_lambda_leaves_it(
    aws: Any, table: tuple[str, str], bucket: str
) -> None:
    write(aws("dynamodb"), table[0], range(8))
    poison = number(in_stream(aws("dynamodbstreams"), table[1])[5])

    def answer(records: list[Any]) -> Any:
        if poison in map(number, records):
            raise RuntimeError("the function died")
        return None

    function = Function(answer)
    mapping = LocalEventSourceMapping(
        function,
        StreamSource(aws("dynamodbstreams"), table[1]),
        BatchRules(batch_size=8, max_retries=0, bisect=True),
        on_failure=FailureBucket(aws("s3"), bucket),
    )
    with following(mapping):
        await_equal(lambda: mapping.settled >= 8)
    assert [len(batch) for batch in function.batches] == [8, 4, 4, 2, 1, 1, 2]
    (stored,) = aws("s3").list_objects_v2(Bucket=bucket)["Contents"]
    record = json.loads(aws("s3").get_object(Bucket=bucket, Key=stored["Key"])["Body"].read())
    real = payload("onfailure-s3-object")
    assert record.keys() == real.keys()
    assert record["DDBStreamBatchInfo"].keys() == real["DDBStreamBatchInfo"].keys()
    batch = read_on_failure(record)
    assert (batch.size, batch.stream, batch.first.text) == (1, table[1], poison)
    assert batch.payload is not None
    (change,) = read_lambda(batch.payload)
    assert isinstance(change, Change)
    assert change.sequence.text == poison
    prefix, shard = stored["Key"].split("/")[:2], stored["Key"].split("/")[3]
    assert (prefix, shard) == (["aws", "lambda"], batch.shard)


def test_a_stream_that_is_not_there_is_one_clear_error(aws: Any, table: tuple[str, str]) -> None:
    gone = table[1].rpartition("/")[0] + "/2020-01-01T00:00:00.000"
    with pytest.raises(ConfigError, match="there is no stream"):
        StreamSource(aws("dynamodbstreams"), gone).poll()


GREETER = """
from consumers.aws_lambda import handler_for


def greet(change):
    print("welcome,", change.keys["pk"])
    if change.keys["pk"] == "nobody":
        raise RuntimeError("there is nobody")


handler = handler_for(on_insert=greet)
"""


def test_the_command_runs_a_function_of_your_own_in_lambdas_runtime(
    environment: dict[str, str], aws: Any, table: tuple[str, str], bucket: str, tmp_path: Path
) -> None:
    (tmp_path / "greeter.py").write_text(GREETER)
    for name in ("Ada", "nobody", "Grace"):
        aws("dynamodb").put_item(TableName=table[0], Item={"pk": {"S": name}, "sk": {"S": "x"}})
    options = ["--add", str(tmp_path / "greeter.py"), "--handler", "greeter.handler", "--on-failure", bucket]
    rules = ["--batch-size", "1", "--max-retries", "0", "--drain", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "local.lambda_run", table[1], *options, *rules],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment, "CDC_MAPPINGS": "none"},
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {name: facts[name] for name in ("read", "settled", "succeeded", "exhausted")} == {
        "read": 3,
        "settled": 3,
        "succeeded": 2,
        "exhausted": 1,
    }
    assert "welcome, Ada" in done.stderr
    assert "welcome, Grace" in done.stderr
    assert aws("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_shards_of_kinesis_are_delivered_after_their_parents(aws: Any) -> None:
    kinesis, name = aws("kinesis"), f"stream-{uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    active = kinesis.get_waiter("stream_exists")
    active.wait(StreamName=name, WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    for n in range(10):
        kinesis.put_record(StreamARN=arn, Data=str(n).encode(), PartitionKey=str(n))
    (parent,) = kinesis.list_shards(StreamARN=arn)["Shards"]
    kinesis.split_shard(StreamARN=arn, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(1 << 127))
    active.wait(StreamName=name, WaiterConfig={"Delay": 1})
    for n in range(10, 20):
        kinesis.put_record(StreamARN=arn, Data=str(n).encode(), PartitionKey=str(n))
    function = Function()
    mapping = LocalEventSourceMapping(function, StreamSource(kinesis, arn), BatchRules(batch_size=4))
    with following(mapping):
        await_equal(lambda: mapping.settled >= 20)
    shape = payload("lambda-kinesis")["Records"][0]
    assert all(record.keys() == shape.keys() for record in function.records)
    assert all(record["kinesis"].keys() == shape["kinesis"].keys() for record in function.records)
    shards = [record["eventID"].partition(":")[0] for record in function.records]
    assert shards[:10] == [parent["ShardId"]] * 10
    assert len(set(shards[10:])) == 2
