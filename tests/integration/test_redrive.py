"""Dead letters and their redrive on real servers: what was rejected ends as what the table holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cdc import Deadline, Superseded
from cdc.archive import read_archive
from cdc.dead_letters.letter import DeadLetter
from cdc.dead_letters.query import Selection, selected
from cdc.dead_letters.redrive import Redriven, Redriver, StillDead
from cdc.item_reader import ItemReader as Items
from cdc.records.attributes import RawItem
from consumers.aws_lambda import changes as aws_lambda
from consumers.aws_lambda import redrive as redrive_handler
from consumers.redriving import make_redriver
from consumers.runtime import open_runtime
from consumers.settings import load_settings
from tests.integration.test_whole_way import in_stream, lambda_record

KEY = {"pk": {"S": "a"}, "sk": {"S": "x"}}


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class Deployment:
    """A table, its consumer as a Lambda, and its dead letters."""

    table: str
    arn: str
    index: str
    bucket: str
    queue: str
    mapping: Path
    environment: dict[str, str]
    aws: Callable[[str], Any]
    opensearch: Any
    delivered: int = 0

    def restart(self) -> None:
        """Start again, newly deployed."""
        aws_lambda._by_mappings.cache_clear()
        redrive_handler._by_mappings.cache_clear()

    def map_number(self, kind: str) -> None:
        """Make the index anew, with the attribute `n` as this type."""
        body = f"{{mappings: {{properties: {{n: {{type: {kind}}}}}}}}}"
        self.mapping.write_text(
            f"table: {self.table}\ndocuments: [{{index: {self.index}, on_unfit: dead_letter, body: {body}}}]"
        )
        self.opensearch.indices.delete(index=f"{self.index}-v1", params={"ignore_unavailable": "true"})
        self.restart()

    def put(self, n: Any, pk: str = "a", **attributes: Any) -> None:
        item = {**KEY, "pk": {"S": pk}, "n": {"S": n} if isinstance(n, str) else {"N": str(n)}, **attributes}
        self.aws("dynamodb").put_item(TableName=self.table, Item=item)

    def delete(self) -> None:
        self.aws("dynamodb").delete_item(TableName=self.table, Key=KEY)

    def records(self) -> list[dict[str, Any]]:
        """All of the stream, as Lambda delivers them."""
        return [lambda_record(record, self.arn) for record in in_stream(self.aws("dynamodbstreams"), self.arn)]

    def deliver(self) -> None:
        """Give the handler what has not been delivered yet; it settles all of it."""
        records = self.records()[self.delivered :]
        self.delivered += len(records)
        assert aws_lambda.handler({"Records": records}, Context()) == {"batchItemFailures": []}

    def letters(self) -> list[tuple[str, DeadLetter]]:
        return list(selected(self.redriver().letters, Selection()))

    def redriver(self) -> Redriver:
        return make_redriver(open_runtime(load_settings(os.environ)))

    def redrive(self, **replaced: Any) -> list[Any]:
        keys = [key for key, _ in self.letters()]
        return [result for _, result in replace(self.redriver(), **replaced).redrive(keys, Deadline.after(60))]

    def indexed(self) -> dict[str, Any]:
        self.opensearch.indices.refresh(index=self.index)
        hits = self.opensearch.search(index=self.index, params={"size": 1000})["hits"]["hits"]
        return {hit["_id"]: hit["_source"]["n"] for hit in hits}

    def tabled(self) -> dict[str, Any]:
        items = self.aws("dynamodb").scan(TableName=self.table, ConsistentRead=True)["Items"]
        return {f"{item['pk']['S']}|{item['sk']['S']}": item["n"].get("S") or int(item["n"]["N"]) for item in items}

    def messages(self) -> list[dict[str, Any]]:
        """Messages of the queue, as Lambda gives them to the handler."""
        found = self.aws("sqs").receive_message(QueueUrl=self.queue, WaitTimeSeconds=5, MaxNumberOfMessages=10)
        return [{"messageId": one["MessageId"], "body": one["Body"]} for one in found.get("Messages", ())]


@pytest.fixture
def deployment(
    environment: dict[str, str],
    table: tuple[str, str],
    index: str,
    bucket: str,
    aws: Any,
    opensearch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Deployment:
    """Deployed, with `n` as a long in the index."""
    queue = aws("sqs").create_queue(QueueName=index)["QueueUrl"]
    own = {
        "CDC_MAPPINGS": str(tmp_path / "mapping.yml"),
        "CDC_ARCHIVE_BUCKET": bucket,
        "CDC_DEAD_LETTER_BUCKET": bucket,
        "CDC_DEAD_LETTER_QUEUE_URL": queue,
    }
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    made = Deployment(*table, index, bucket, queue, tmp_path / "mapping.yml", {**environment, **own}, aws, opensearch)
    made.map_number("long")
    return made


def cdc(deployment: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", "dead-letters", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **deployment.environment},
        check=False,
    )


def test_a_rejected_change_is_announced_and_redriven_by_the_queue_once_its_cause_is_mended(
    deployment: Deployment,
) -> None:
    deployment.put("text")
    deployment.deliver()
    ((key, letter),) = deployment.letters()
    assert letter.reason == "OpenSearch: 400 mapper_parsing_exception"
    assert deployment.indexed() == {}
    (message,) = deployment.messages()
    body = json.loads(message["body"])
    assert body["key"] == f"dead-letters/{key}"
    failed = redrive_handler.redrive_handler({"Records": [message]}, Context())
    assert failed == {"batchItemFailures": [{"itemIdentifier": message["messageId"]}]}
    deployment.map_number("keyword")
    assert redrive_handler.redrive_handler({"Records": [message]}, Context()) == {"batchItemFailures": []}
    assert deployment.indexed() == deployment.tabled() == {"a|x": "text"}
    assert deployment.letters() == []


def test_the_command_line_redrives_what_it_lists(deployment: Deployment) -> None:
    deployment.put("text")
    deployment.put("other", pk="b")
    deployment.deliver()
    listed = json.loads(cdc(deployment, "list", "--table", deployment.table, "--json").stdout)
    assert [count["count"] for count in listed["counts"]] == [2]
    failed = cdc(deployment, "redrive", "--all")
    assert (failed.returncode, failed.stdout) == (1, "0 redriven, 0 superseded, 2 kept\n")
    assert "rejected again" in failed.stderr
    deployment.put(5)  # mended in the table
    done = cdc(deployment, "redrive", *(letter["key"] for letter in listed["letters"]), "--json")
    assert done.returncode == 1
    assert {name: json.loads(done.stdout)[name] for name in ("redriven", "kept")} == {"redriven": 1, "kept": 1}
    assert deployment.indexed() == {"a|x": 5}


def test_a_redrive_never_brings_a_deleted_item_back(deployment: Deployment) -> None:
    deployment.put("text")
    deployment.deliver()
    deployment.map_number("keyword")
    deployment.put("newer")
    deployment.delete()
    deployment.deliver()
    deployment.opensearch.indices.close(index=deployment.index)  # OpenSearch forgets the versions of deletes by this
    deployment.opensearch.indices.open(index=deployment.index)
    assert deployment.redrive() == [Redriven()]
    assert deployment.indexed() == deployment.tabled() == {}
    assert deployment.letters() == []


def test_a_redrive_never_overwrites_a_newer_state(deployment: Deployment) -> None:
    deployment.put("text")
    deployment.deliver()
    deployment.map_number("keyword")
    deployment.put("newer")
    deployment.deliver()
    assert deployment.redrive() == [Superseded()]
    assert deployment.indexed() == deployment.tabled() == {"a|x": "newer"}


@dataclass
class Meanwhile:
    """Items of which one changes just after it was read for the first time."""

    items: Items
    change: Callable[[], object]
    reads: int = 0

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        found = self.items.read(table, keys, deadline)
        self.reads += 1
        if self.reads == 1:
            self.change()
        return found


@pytest.mark.parametrize("expected", [{"a|x": "changed"}, {}], ids=["written", "deleted"])
def test_an_item_that_changes_between_read_and_write_is_read_again(
    deployment: Deployment, expected: dict[str, Any]
) -> None:
    deployment.put("text")
    deployment.deliver()
    deployment.map_number("keyword")
    act = (lambda: deployment.put("changed")) if expected else deployment.delete
    items = Meanwhile(deployment.redriver().items, act)
    assert deployment.redrive(items=items) == [Redriven()]
    assert items.reads == 3
    assert deployment.indexed() == deployment.tabled() == expected


def test_a_letter_of_another_account_is_not_redriven_from_the_table_here(deployment: Deployment) -> None:
    deployment.put("text")
    deployment.deliver()
    deployment.map_number("keyword")
    redriving = deployment.redriver()
    ((key, letter),) = deployment.letters()
    other = letter.stream.split(":")
    other[4] = "999999999999"
    from msgspec.structs import replace as with_fields

    redriving.letters.keep(with_fields(letter, stream=":".join(other)))
    ((_, result),) = redriving.redrive([key], Deadline.after(10))
    assert isinstance(result, StillDead)
    assert deployment.indexed() == {}


def test_poison_in_the_middle_of_a_batch_and_of_any_size_stops_only_itself(deployment: Deployment) -> None:
    for n in range(9):
        deployment.put("text" if n == 4 else n, pk=f"k{n}", blob={"S": "x" * 390_000} if n == 4 else {"S": "y"})
    deployment.deliver()
    ((_, letter),) = deployment.letters()
    assert len(letter.record["dynamodb"]["NewImage"]["blob"]["S"]) == 390_000
    (message,) = deployment.messages()
    assert len(message["body"]) < 2000
    assert len(deployment.indexed()) == 8
    deployment.put(4, pk="k4")
    assert deployment.redrive() == [Redriven()]
    assert deployment.indexed() == deployment.tabled()


def test_a_shard_of_nothing_but_poison_is_kept_whole(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_ON_MASS_REJECT", "dead_letter")
    deployment.restart()
    deployment.put(1)
    (record,) = deployment.records()
    poison = []
    for n in range(100):
        one = json.loads(json.dumps(record))
        one["dynamodb"]["SequenceNumber"] = str(n + 1)
        one["dynamodb"]["NewImage"]["n"] = {"Z": "?"}
        one["eventName"] = "?" if n % 2 else "INSERT"
        poison.append(one)
    assert aws_lambda.handler({"Records": poison}, Context()) == {"batchItemFailures": []}
    kept = [letter for _, letter in deployment.letters()]
    assert Counter(letter.sink for letter in kept) == {"opensearch": 50, "source": 50}
    assert sorted(int(letter.sequence) for letter in kept) == list(range(1, 101))


def range_of(records: list[dict[str, Any]], arn: str, shard: str) -> dict[str, Any]:
    return {
        "requestContext": {"requestId": "r", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 3},
        "version": "1.0",
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": records[0]["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": records[-1]["dynamodb"]["SequenceNumber"],
            "batchSize": len(records),
            "streamArn": arn,
        },
    }


def test_a_range_that_lambda_gave_up_on_is_read_back_archived_and_written(deployment: Deployment) -> None:
    for n in range(12):
        deployment.put(n, pk=f"k{n % 5}", raw={"B": b"\x00\xff"})
    records = deployment.records()
    description = deployment.aws("dynamodbstreams").describe_stream(StreamArn=deployment.arn)["StreamDescription"]
    ids = [shard["ShardId"] for shard in description["Shards"]]
    assert len(ids) == 1
    body = json.dumps(range_of(records[2:9], deployment.arn, ids[0]))
    event = {"Records": [{"messageId": "m", "body": body}]}
    assert redrive_handler.redrive_handler(event, Context()) == {"batchItemFailures": []}
    archived = list(read_archive(deployment.aws("s3"), deployment.bucket, "cdc", deployment.table))
    assert [one.sequence for one in archived] == [record["dynamodb"]["SequenceNumber"] for record in records[2:9]]
    assert [one.document["NewImage"] for one in archived] == [record["dynamodb"]["NewImage"] for record in records[2:9]]
    assert deployment.indexed() == deployment.tabled()
    assert aws_lambda.handler({"Records": records}, Context()) == {"batchItemFailures": []}  # and once more in order
    assert deployment.indexed() == deployment.tabled()
    assert len(list(read_archive(deployment.aws("s3"), deployment.bucket, "cdc", deployment.table))) == 12


def test_records_that_are_gone_are_kept_as_a_range(deployment: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    deployment.put(1)
    gone = deployment.arn.rpartition("/")[0] + "/2020-01-01T00:00:00.000"
    body = range_of(deployment.records(), gone, "shardId-00000000000000000000-00000000")
    event = {"Records": [{"messageId": "m", "body": json.dumps({"Type": "Notification", "Message": json.dumps(body)})}]}
    assert redrive_handler.redrive_handler(event, Context()) == {"batchItemFailures": []}
    ((_, letter),) = deployment.letters()
    assert (letter.sink, letter.reason, letter.record) == ("stream", "records_gone", body["DDBStreamBatchInfo"])
    assert "are gone from" in caplog.text
    assert cdc(deployment, "redrive", "--all").returncode == 1


def test_a_whole_invocation_in_s3_is_redriven_by_the_command_and_then_deleted(deployment: Deployment) -> None:
    for n in range(17):
        deployment.put("text" if n == 3 else n, pk=f"k{n}", blob={"S": "x" * 390_000})
    records = deployment.records()
    arn, s3 = deployment.arn, deployment.aws("s3")
    whole = {**range_of(records, arn, "shardId-1"), "payload": json.dumps({"Records": records})}
    assert len(whole["payload"]) > 6 * 1024 * 1024
    key = "aws/lambda/async/cdc/2026/01/15/one"
    s3.put_object(Bucket=deployment.bucket, Key=key, Body=json.dumps(whole))
    plan = cdc(deployment, "redrive", "--on-failure", f"s3://{deployment.bucket}/aws/lambda", "--dry-run")
    assert plan.stdout == f"{key}\n"
    done = cdc(deployment, "redrive", "--on-failure", f"s3://{deployment.bucket}/aws/lambda")
    assert (done.returncode, done.stdout) == (0, "1 redriven, 0 superseded, 0 kept\n")
    assert len(list(read_archive(s3, deployment.bucket, "cdc", deployment.table))) == 17
    assert len(deployment.indexed()) == 16
    assert [letter.sink for _, letter in deployment.letters()] == ["opensearch"]
    assert s3.list_objects_v2(Bucket=deployment.bucket, Prefix="aws/")["KeyCount"] == 0
