"""A hand-over under load, in both directions: no hole in the archive of any shard, and the index equals the table."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from cdc.archive import read_archive
from cdc.testing.simulated.batches import BatchRules
from consumers.aws_lambda import changes as aws_lambda
from local.event_source_mapping import LocalEventSourceMapping
from local.stream_source import StreamSource
from tests.integration.functions import following
from tests.integration.test_rebuild import Client
from tests.integration.test_whole_way import Context, await_equal, consumer, deployment, in_index, in_stream, in_table

__all__ = ["consumer", "deployment"]


class Lambda:
    """The Lambda: its event source mapping is the engine's; while that is on, the function is given the batches."""

    def __init__(self, client: Any, streams: Any, stream_arn: str, *, enabled: bool, handler: str) -> None:
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("nothing.py", "def handler(event, context):\n    return {'batchItemFailures': []}\n")
        self.name = f"changes-{uuid4().hex[:8]}"
        role = "arn:aws:iam::000000000000:role/changes"
        client.create_function(
            FunctionName=self.name, Runtime="python3.11", Role=role, Handler=handler, Code={"ZipFile": code.getvalue()}
        )
        self.client = client
        self._streams = streams
        self._stream_arn = stream_arn
        self._stop = Event()
        self.uuid = client.create_event_source_mapping(
            EventSourceArn=stream_arn,
            FunctionName=self.name,
            StartingPosition="TRIM_HORIZON",
            Enabled=enabled,
            FunctionResponseTypes=["ReportBatchItemFailures"],
        )["UUID"]

    @property
    def is_on(self) -> bool:
        return bool(self.client.get_event_source_mapping(UUID=self.uuid)["State"] == "Enabled")

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(0.2):
            if not self.is_on:
                continue
            source = StreamSource(self._streams, self._stream_arn)
            mapping = LocalEventSourceMapping(lambda event: aws_lambda.handler(event, Context()), source, BatchRules())
            with following(mapping):
                while self.is_on and not self._stop.wait(0.2):
                    pass


@pytest.fixture
def set_up(deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()
    return {**os.environ, **deployment}


def load(dynamodb: Any, table: str) -> Client:
    def write(turn: int) -> None:
        key = {"pk": {"S": f"k{turn % 60}"}, "sk": {"S": "x"}}
        if turn % 7 == 0:
            dynamodb.delete_item(TableName=table, Key=key)
        else:
            dynamodb.put_item(TableName=table, Item={**key, "n": {"N": str(turn)}})

    return Client(write)


class HandOver:
    """`cdc handover …` as a process; `told` are the lines of its standard error so far."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        command = [sys.executable, "-m", "consumers.cli.main", "handover", *arguments, "--json"]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.told: list[str] = []
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.told.extend(iter(self.process.stderr.readline, ""))

    def says(self, text: str) -> bool:
        assert self.process.poll() is None, self.told
        return any(text in line for line in self.told)

    def result(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        assert self.process.wait(300) == 0, (out, self.told)
        found: dict[str, Any] = json.loads(out.splitlines()[-1])["result"]
        return found


def status(environment: dict[str, str], table: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "consumers.cli.main", "handover", "--table", table, "--status", "--json"]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    )
    return told


def judge(aws: Any, table: tuple[str, str], bucket: str, opensearch: Any, index: str) -> None:
    """None of the command's own code: the index is the table, and the archive has each record once."""
    await_equal(lambda: in_index(opensearch, index) == in_table(aws("dynamodb"), table[0]))
    recorded = {record["dynamodb"]["SequenceNumber"] for record in in_stream(aws("dynamodbstreams"), table[1])}
    await_equal(lambda: {one.sequence for one in read_archive(aws("s3"), bucket, "cdc", table[0])} == recorded)


@pytest.mark.turn("long")
def test_the_consumer_gives_a_table_to_the_lambda_and_takes_it_back(
    set_up: dict[str, str],
    consumer: Callable[[], Any],
    aws: Any,
    table: tuple[str, str],
    bucket: str,
    opensearch: Any,
    index: str,
) -> None:
    dynamodb, name = aws("dynamodb"), table[0]
    function = Lambda(
        aws("lambda"),
        aws("dynamodbstreams"),
        table[1],
        enabled=False,
        handler="consumers.aws_lambda.entry_changes.handler",
    )
    process = consumer()
    await_equal(lambda: opensearch.indices.exists(index=index))
    writers = load(dynamodb, name)
    with function.running(), writers.running():
        await_equal(lambda: status(set_up, name)["worker"] is not None)
        assert status(set_up, name)["lambda_reads"] is False
        killed = HandOver(set_up, "--table", name, "--to", "lambda", "--function", function.name)
        await_equal(lambda: killed.says("stop the workers"))
        assert function.is_on
        killed.process.kill()
        again = HandOver(set_up, "--table", name, "--to", "lambda", "--function", function.name)
        await_equal(lambda: again.says("stop the workers"))
        process.terminate()
        assert process.wait(60) == 0
        result = again.result()
        assert (result["reader"], result["whole"]) == ("lambda", True)
        assert sum(shard["records"] for shard in result["proof"]) > 50
        before = writers.done
        await_equal(lambda: writers.done > before + 20)

        back = HandOver(set_up, "--table", name, "--to", "consumer")
        await_equal(lambda: back.says("start the consumer"))
        process = consumer()
        result = back.result()
        assert (result["reader"], result["whole"]) == ("consumer", True)
        assert not function.is_on
        before = writers.done
        await_equal(lambda: writers.done > before + 20)
    judge(aws, table, bucket, opensearch, index)
    assert process.poll() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"StartingPosition": "LATEST"}, "leaves changes out"),
        ({"FunctionResponseTypes": []}, "does not heed partial batch responses"),
        ({"Handler": "mine.handler"}, "has a handler of its own"),
        (None, "no function reads"),
    ],
)
def test_a_lambda_that_would_miss_or_repeat_changes_is_refused(
    set_up: dict[str, str], aws: Any, table: tuple[str, str], change: dict[str, Any] | None, said: str
) -> None:
    client = aws("lambda")
    if change is not None:
        handler = change.pop("Handler", "consumers.aws_lambda.entry_changes.handler")
        function = Lambda(client, aws("dynamodbstreams"), table[1], enabled=False, handler=handler)
        client.delete_event_source_mapping(UUID=function.uuid)
        facts = {"StartingPosition": "TRIM_HORIZON", "FunctionResponseTypes": ["ReportBatchItemFailures"], **change}
        client.create_event_source_mapping(EventSourceArn=table[1], FunctionName=function.name, Enabled=False, **facts)
    refused = HandOver(set_up, "--table", table[0], "--to", "lambda")
    assert refused.process.wait(60) == 2
    await_equal(lambda: said in "".join(refused.told))
