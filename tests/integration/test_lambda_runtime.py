"""The Lambda package in Lambda's own runtime interface client and emulator, on real servers."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cdc.testing import Delayed, Reset
from cdc.testing.simulated.batches import BatchRules
from local.demo.consumer import outcomes
from local.emulator import FunctionFailed
from local.event_source_mapping import FailureBucket, LocalEventSourceMapping
from local.lambda_here import CHANGES
from local.servers import Servers
from local.stream_source import StreamSource
from tests import events
from tests.events import payload
from tests.integration.functions import (
    DONE,
    PATIENT_SECONDS,
    Functions,
    Launch,
    before,
    client,
    failing,
    following,
    queued,
    records,
    renamed,
    settle,
    spoilt,
    table_of,
)
from tests.integration.test_whole_way import await_equal, in_index, in_table, write

MAPPING = """
table: "*"
documents:
  - index: "{table}"
    on_unfit: dead_letter
    body: {mappings: {properties: {n: {type: long}}}}
"""


@pytest.fixture(scope="module")
def functions(servers: Servers, in_lambda: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Functions]:
    """One function a configuration, for all tests here: an index and an archive of each table."""
    mapping = tmp_path_factory.mktemp("mappings") / "all.yml"
    mapping.write_text(MAPPING)
    bucket = f"bucket-{uuid4().hex[:12]}"
    client(servers, "s3").create_bucket(Bucket=bucket)
    with before(servers.opensearch.url) as proxy, before(str(servers.aws.endpoint("s3"))) as aws_proxy:
        environment = {
            "CDC_MAPPINGS": str(mapping),
            "CDC_OPENSEARCH_ENDPOINT": proxy.url,
            "CDC_ARCHIVE_BUCKET": bucket,
            "CDC_BULK_COUNT": "100",
            "CDC_AWS_TIMEOUT_SECONDS": "2",
            "CDC_DEADLINE_MARGIN_SECONDS": "1",
        }
        yield Functions(in_lambda, servers, environment, proxy, aws_proxy, bucket)


@pytest.fixture
def arn() -> str:
    """The stream of a table that nobody has seen before."""
    return f"arn:aws:dynamodb:us-east-1:000000000000:table/t-{uuid4().hex[:12]}/stream/2026-01-15T09:30:00.123"


OF_STREAMS = ("lambda-dynamodb", "lambda-dynamodb-views", "lambda-kinesis")
OF_OTHERS = ("lambda-sqs", "lambda-s3")


def test_every_event_of_lambda_that_we_have_is_given_to_a_function_here() -> None:
    there = {path.stem for path in Path(events.__file__).parent.glob("lambda-*.json")}
    assert there == {*OF_STREAMS, *OF_OTHERS}


@pytest.mark.parametrize("name", OF_STREAMS)
def test_an_event_of_a_stream_is_written_and_archived(name: str, functions: Functions, table: tuple[str, str]) -> None:
    event = renamed(payload(name), table[0])
    assert functions.with_letters.invoke(event) == DONE
    assert len(functions.archived(table[0])) == len(event["Records"])
    assert functions.letters(event["Records"][0]["eventSourceARN"]) == []
    assert functions.with_letters.invoke(event) == DONE
    assert len(functions.archived(table[0])) == len(event["Records"])


def test_an_event_of_sqs_is_the_redrive_functions(functions: Functions) -> None:
    event = payload("lambda-sqs")
    assert functions.redrive.invoke(event) == DONE
    (letter,) = functions.letters(json.loads(event["Records"][0]["body"])["DDBStreamBatchInfo"]["streamArn"])
    assert letter["reason"] == "records_gone"


@pytest.mark.parametrize("name", OF_OTHERS)
def test_an_event_that_is_not_the_functions_fails_the_invocation_and_acknowledges_nothing(
    name: str, functions: Functions
) -> None:
    with pytest.raises(FunctionFailed, match="not aws:dynamodb or aws:kinesis"):
        functions.with_letters.invoke(payload(name))


def test_a_notice_of_an_object_that_is_no_failure_record_stays_in_the_queue(functions: Functions) -> None:
    with pytest.raises(FunctionFailed, match="no messages of SQS"):
        functions.redrive.invoke(payload("lambda-s3"))
    client(functions.servers, "s3").put_object(Bucket=functions.bucket, Key="note", Body=b"{}")
    assert functions.redrive.invoke(queued(functions.bucket, "note")) == failing("m")


@pytest.mark.parametrize("poison", [{"n": {"S": "text"}}, {"n": {"Z": "?"}}], ids=["refused", "unreadable"])
def test_without_a_dead_letter_store_a_poison_record_is_where_lambda_resumes(
    poison: Any, functions: Functions, arn: str
) -> None:
    batch = records(arn, 9)
    sequence = spoilt(batch[4], **poison)
    assert functions.without_letters.invoke({"Records": batch}) == failing(sequence)
    with pytest.raises(FunctionFailed, match="NothingSettled: none of the 5 records"):
        functions.without_letters.invoke({"Records": batch[4:]})
    assert functions.archived(table_of(arn)) == [record["dynamodb"]["SequenceNumber"] for record in batch[:4]]


@pytest.mark.parametrize("poison", [{"n": {"S": "text"}}, {"n": {"Z": "?"}}], ids=["refused", "unreadable"])
def test_a_poison_record_becomes_a_dead_letter_and_stops_only_itself(
    poison: Any, functions: Functions, arn: str
) -> None:
    batch = records(arn, 9)
    sequence = spoilt(batch[4], **poison)
    assert functions.with_letters.invoke({"Records": batch}) == DONE
    assert len(functions.indexed(table_of(arn))) == 8
    (letter,) = functions.letters(arn)
    assert (letter["sequence"], letter["record"]) == (sequence, batch[4])


def test_a_kinesis_record_that_is_no_change_is_a_dead_letter(functions: Functions, table: tuple[str, str]) -> None:
    event = renamed(payload("lambda-kinesis"), table[0])
    good, bad = event["Records"][0], json.loads(json.dumps(event["Records"][0]))
    bad["kinesis"] = {
        **bad["kinesis"],
        "data": b64encode(b"a line of somebody's log").decode(),
        "sequenceNumber": str(int(good["kinesis"]["sequenceNumber"]) + 1),
    }
    for record in (good, bad):
        record["eventSourceARN"] += f"-{table[0]}"
    assert functions.with_letters.invoke({"Records": [good, bad]}) == DONE
    assert len(functions.indexed(table[0])) == 1
    (letter,) = functions.letters(bad["eventSourceARN"])
    assert letter["sequence"] == bad["kinesis"]["sequenceNumber"]


def test_a_slow_index_is_answered_for_in_time_with_the_first_record_that_is_not_settled(
    functions: Functions, arn: str
) -> None:
    function = functions.hurried
    settle(function, records(arn, 1))
    batch = records(arn, 1500, first=2, items=10_000)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    with functions.proxy.injecting(Delayed(1.0)):
        (failure,) = function.invoke({"Records": batch})["batchItemFailures"]
    resume = numbers.index(failure["itemIdentifier"])
    assert 0 < resume < len(batch)
    assert functions.archived(table_of(arn))[1:] == numbers[:resume]
    settle(function, batch[resume:])
    assert len(functions.indexed(table_of(arn))) == 1501
    assert functions.archived(table_of(arn))[1:] == numbers


@pytest.mark.parametrize("silent", ["opensearch", "s3"])
def test_a_server_that_never_answers_is_answered_for_in_time(silent: str, functions: Functions, arn: str) -> None:
    function = functions.hurried
    settle(function, records(arn, 1))
    batch = records(arn, 3, first=2)
    proxy = functions.proxy if silent == "opensearch" else functions.aws_proxy
    with proxy.injecting(Delayed(60.0)), pytest.raises(FunctionFailed, match="NothingSettled"):
        function.invoke({"Records": batch})
    settle(function, batch)


def test_while_opensearch_is_down_all_is_retried_and_none_is_lost(
    functions: Functions, aws: Any, table: tuple[str, str], opensearch: Any
) -> None:
    mapping = LocalEventSourceMapping(
        functions.hurried.invoke, StreamSource(aws("dynamodbstreams"), table[1]), BatchRules(batch_size=25)
    )
    write(aws("dynamodb"), table[0], range(60))
    with functions.proxy.injecting(Reset()), following(mapping):
        await_equal(lambda: mapping.counts["failed"] >= 1)
        assert mapping.settled == 0
        functions.proxy.inject(None)
        await_equal(lambda: mapping.settled >= 60)
    assert in_index(opensearch, table[0]) == in_table(aws("dynamodb"), table[0])
    assert len(functions.archived(table[0])) == 60
    assert functions.letters(table[1]) == []


def test_a_runtime_that_is_killed_in_the_middle_is_started_anew_and_nothing_is_lost(
    functions: Functions, aws: Any, table: tuple[str, str], opensearch: Any
) -> None:
    function = functions.hurried
    mapping = LocalEventSourceMapping(
        function.invoke, StreamSource(aws("dynamodbstreams"), table[1]), BatchRules(batch_size=25)
    )
    write(aws("dynamodb"), table[0], range(60))
    struck = functions.proxy.struck["Delayed"]
    with functions.proxy.injecting(Delayed(1.0)), following(mapping):
        await_equal(lambda: functions.proxy.struck["Delayed"] > struck)
        (runtime,) = [
            one for one in function.process.server.children(recursive=True) if "awslambdaric" in one.cmdline()
        ]
        runtime.kill()
        await_equal(lambda: mapping.counts["failed"] >= 1)
        functions.proxy.inject(None)
        await_equal(lambda: mapping.settled >= 60)
    assert in_index(opensearch, table[0]) == in_table(aws("dynamodb"), table[0])
    assert len(functions.archived(table[0])) == 60


def test_ten_thousand_records_in_ten_batches_cold_and_warm(
    functions: Functions, arn: str, record_property: Callable[[str, object], None]
) -> None:
    function = functions.launch(CHANGES, functions.environment, PATIENT_SECONDS)
    everything = records(arn, 10_000, items=2_500, text="x" * 200)
    for start in range(0, 10_000, 1000):
        assert function.invoke({"Records": everything[start : start + 1000]}) == DONE
    report = function.report()
    assert (len(report.inits), len(report.invocations)) == (1, 10)
    assert outcomes(function.log()).total() == 10_000  # by its metrics
    assert "x" * 200 not in function.log()
    print("\ninit", report.inits, "invocations", report.invocations)
    found = functions.indexed(table_of(arn))
    assert {document["pk"]: int(document["n"]) for document in found.values()} == {
        f"k{number % 2500}": number for number in range(7_501, 10_001)
    }
    numbers = functions.archived(table_of(arn))
    assert len(numbers) == 10_000
    assert all(int(earlier) < int(later) for earlier, later in pairwise(numbers))


def test_a_poison_batch_ends_in_the_failure_bucket_and_is_redriven(
    functions: Functions, aws: Any, table: tuple[str, str], opensearch: Any
) -> None:
    dynamodb, s3 = aws("dynamodb"), aws("s3")
    bucket = f"on-failure-{uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    key = {"pk": {"S": "poison"}, "sk": {"S": "x"}}
    write(dynamodb, table[0], range(7))
    dynamodb.put_item(TableName=table[0], Item={**key, "n": {"S": "text"}})
    write(dynamodb, table[0], range(7, 10))
    mapping = LocalEventSourceMapping(
        functions.without_letters.invoke,
        StreamSource(aws("dynamodbstreams"), table[1]),
        BatchRules(batch_size=10, max_retries=1, bisect=True),
        on_failure=FailureBucket(s3, bucket),
    )
    with following(mapping):
        await_equal(lambda: mapping.settled >= 11)
        write(dynamodb, table[0], range(11, 13))
        await_equal(lambda: mapping.settled >= 13)
    stored = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert stored
    for name in stored:
        assert functions.redrive.invoke(queued(bucket, name)) == DONE
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    (letter,) = functions.letters(table[1])
    assert letter["record"]["dynamodb"]["NewImage"]["n"] == {"S": "text"}
    assert len(functions.archived(table[0])) == 13
    dynamodb.delete_item(TableName=table[0], Key=key)
    assert in_index(opensearch, table[0]) == in_table(dynamodb, table[0])


def test_a_mistake_of_the_deployment_fails_the_start_with_one_line(functions: Functions, arn: str) -> None:
    function = functions.launch(CHANGES, {"CDC_ARCHIVE_BUKET": "lake", "CDC_MAPPINGS": "none"})
    with pytest.raises(FunctionFailed, match="CDC_ARCHIVE_BUKET: unknown setting; did you mean CDC_ARCHIVE_BUCKET"):
        function.invoke({"Records": records(arn, 3)})
