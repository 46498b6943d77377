"""The handler of the queue that announcements and failure records come to, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc import Applied, Change, Deadline, Outcome, Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import letter_of
from cdc.errors import ConfigError
from cdc.testing import SimulatedClock, change
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.aws_lambda.on_failure import FailedBatch, ReadBack
from consumers.aws_lambda.redrive import RedriveFunction, RedriveQueue, redrive_handler
from consumers.aws_lambda.startup import LambdaFunction
from tests.events import payload
from tests.invoking import Context, Deployment
from tests.redriving import Here, Items, Letters, Writes, redriver

WHOLE, RANGE = payload("onfailure-s3-object"), payload("onfailure-sqs-body")


def message(body: Any, identifier: str = "m1") -> dict[str, Any]:
    return {"messageId": identifier, "body": body if isinstance(body, str) else json.dumps(body)}


def respond(queue: RedriveQueue, *messages: dict[str, Any], seconds: float = 60) -> list[str]:
    answer = queue.respond({"Records": list(messages)}, Deadline.after(seconds))
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def queue_of(letters: Letters, here: Here | None = None, **options: Any) -> RedriveQueue:
    options = {"read_back": lambda *_: ReadBack((), True), "s3": lambda: None, **options}
    return RedriveQueue(redriver(here or Here(), Items(), letters), **options)


def announced(letters: Letters, answer: Callable[[Change], Outcome] = lambda _: Applied()) -> dict[str, Any]:
    letter = letter_of(
        change({"pk": "a"}, None, {}), Rejected(Cause("no"), document="orders/a"), "opensearch", datetime.now(UTC)
    )
    letters.keep(letter)
    return {"kind": "cdc-dead-letter", "bucket": "b", "key": letter.name}


@pytest.mark.parametrize("wrapped", [False, True], ids=["SQS", "SNS"])
def test_an_announced_letter_is_redriven(wrapped: bool) -> None:
    letters, here = Letters(), Here()
    body = announced(letters)
    text = {"Type": "Notification", "Message": json.dumps(body)} if wrapped else body
    assert respond(queue_of(letters, here), message(text)) == []
    assert len(here.sink.written) == 1
    assert letters.kept == {}


def test_a_letter_that_stays_keeps_its_message_and_no_other() -> None:
    letters = Letters()
    body = announced(letters)
    queue = queue_of(letters, Here(sink=Writes(lambda _: Rejected(Cause("no")))))
    assert respond(queue, message(body, "bad"), message(RANGE, "good")) == ["bad"]
    assert len(letters.kept) == 1


@pytest.mark.parametrize("wrapped", [False, True], ids=["SQS", "SNS"])
def test_a_failure_record_of_lambda_is_redriven(wrapped: bool) -> None:
    asked: list[FailedBatch] = []

    def read_back(batch: FailedBatch, deadline: Deadline) -> ReadBack:
        asked.append(batch)
        return ReadBack((), True)

    (record,) = payload("lambda-sqs")["Records"]
    if wrapped:
        record["body"] = json.dumps({"Type": "Notification", "Message": record["body"]})
    assert respond(queue_of(Letters(), read_back=read_back), record) == []
    assert [batch.shard for batch in asked] == ["shardId-00000001573689847184-864758bb"]


class Objects:
    """S3 with one failure record."""

    class exceptions:  # noqa: N801  (boto3's name)
        NoSuchKey = KeyError

    def __init__(self) -> None:
        self.objects = {"aws/lambda/async/a b+c": json.dumps(WHOLE).encode()}

    def get_object(self, **request: Any) -> Any:
        class Body:
            content = self.objects[request["Key"]]

            def read(self) -> bytes:
                return self.content

        return {"Body": Body()}

    def delete_object(self, **request: Any) -> None:
        del self.objects[request["Key"]]


def test_a_notice_of_s3_leads_to_the_failure_record_which_is_deleted_when_done() -> None:
    s3, here = Objects(), Here()
    (notice,) = payload("lambda-s3")["Records"]
    notice["s3"]["object"]["key"] = "aws/lambda/async/a+b%2Bc"
    queue = queue_of(Letters(), here, s3=lambda: s3)
    assert respond(queue, message({"Records": [notice]})) == []
    assert len(here.sink.changes) == 2
    assert s3.objects == {}
    assert respond(queue, message({"Records": [notice]})) == []  # the notice comes a second time
    assert respond(queue, message({"Service": "Amazon S3", "Event": "s3:TestEvent"})) == []


@pytest.mark.parametrize("body", ["no JSON", "[]", "{}", '{"Records": []}', '{"Type": "Notification"}', "null", '"x"'])
def test_an_unknown_message_stays_and_is_said(body: str, caplog: pytest.LogCaptureFixture) -> None:
    assert respond(queue_of(Letters()), message(body)) == ["m1"]
    assert "m1 stays in the queue" in caplog.text


def test_after_the_deadline_every_message_stays() -> None:
    letters = Letters()
    assert respond(queue_of(letters), message(announced(letters)), message(RANGE, "m2"), seconds=0) == ["m1", "m2"]
    assert len(letters.kept) == 1


@pytest.mark.parametrize("event", [{}, {"Records": [{"eventSource": "aws:dynamodb"}]}])
def test_an_event_of_another_source_is_a_mistake_of_the_deployment(event: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no messages of SQS"):
        queue_of(Letters()).respond(event, Deadline.after(1))


@pytest.mark.parametrize("name", ["onfailure-s3-object", "onfailure-sqs-body"])
def test_both_shapes_of_lambda_s_failure_records_are_messages(name: str) -> None:
    here = Here()
    assert respond(queue_of(Letters(), here), message(payload(name))) == []
    assert len(here.sink.changes) == (2 if name == "onfailure-s3-object" else 0)


def test_a_redrive_tells_how_many_messages_are_done_with_and_how_many_stay() -> None:
    lines: list[str] = []
    metrics = EmbeddedMetrics("DynamoDBCDC", write=lines.append)
    deployment = Deployment()
    clock = deployment.clock
    redrive = RedriveFunction(deployment.runtime, metrics, queue_of(Letters()))
    function = LambdaFunction(redrive, lambda _event: "", metrics)
    answer = function({"Records": [message(WHOLE, "good"), message("no JSON", "bad")]}, Context(clock, clock() + 60))
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    told = json.loads("".join(lines))
    assert (told["Redriven"], told["Kept"]) == (1, 1)


def test_no_message_is_begun_that_would_take_longer_than_is_left() -> None:
    letters, clock = Letters(), SimulatedClock()

    def read_back(batch: FailedBatch, deadline: Deadline) -> ReadBack:
        clock.sleep(20)
        return ReadBack((), True)

    queue = queue_of(letters, read_back=read_back)
    event = {"Records": [message(RANGE, f"m{number}") for number in range(4)]}
    answer = queue.respond(event, Deadline.after(50, clock=clock))
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == ["m2", "m3"]


def test_a_handler_without_a_bucket_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from consumers.aws_lambda import redrive as module

    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 10_000

    monkeypatch.setenv("CDC_MAPPINGS", "mappings")
    monkeypatch.setenv("CDC_OPENSEARCH_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("CDC_DEAD_LETTER_BUCKET", raising=False)
    module._by_mappings.cache_clear()
    with pytest.raises(ConfigError, match="CDC_DEAD_LETTER_BUCKET"):
        redrive_handler({"Records": []}, Context())
