"""Lambda functions in their own runtime: what tests start, ask and look into."""

from __future__ import annotations

import json
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote_plus, urlsplit

import pytest

from cdc.archive import read_archive
from cdc.testing import TcpProxy, stream_record
from local.demo.judge import read_index
from local.emulator import LambdaFunction
from local.event_source_mapping import LocalEventSourceMapping
from local.lambda_here import CHANGES, REDRIVE
from local.servers import Servers
from tests.events import payload

Launch = Callable[..., LambdaFunction]

PATIENT_SECONDS, HURRIED_SECONDS = 60, 12
DONE: dict[str, Any] = {"batchItemFailures": []}


def failing(sequence: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": sequence}]}


def client(servers: Servers, service: str) -> Any:
    return servers.aws.client(service)


@dataclass(frozen=True)
class Functions:
    """Functions of one package, each started when it is first asked for, and where they write. OpenSearch is reached
    through `proxy`; AWS by the hurried one through `aws_proxy`."""

    launch: Launch
    servers: Servers
    environment: dict[str, str]
    proxy: TcpProxy
    aws_proxy: TcpProxy
    bucket: str

    @cached_property
    def with_letters(self) -> LambdaFunction:
        """It has time."""
        return self.launch(CHANGES, self._with_letters, PATIENT_SECONDS)

    @cached_property
    def hurried(self) -> LambdaFunction:
        """It has little time, and dead letters."""
        through = {**self._with_letters, "AWS_ENDPOINT_URL": self.aws_proxy.url}
        return self.launch(CHANGES, through, HURRIED_SECONDS)

    @cached_property
    def without_letters(self) -> LambdaFunction:
        """It leaves what is rejected to the event source mapping."""
        return self.launch(CHANGES, self.environment, PATIENT_SECONDS)

    @cached_property
    def redrive(self) -> LambdaFunction:
        """It is given messages of SQS."""
        return self.launch(REDRIVE, self._with_letters, PATIENT_SECONDS)

    @property
    def _with_letters(self) -> dict[str, str]:
        return {**self.environment, "CDC_DEAD_LETTER_BUCKET": self.bucket}

    def letters(self, stream_arn: str) -> list[dict[str, Any]]:
        """The dead letters of a stream; one that can't be read may name it in its record only."""
        s3 = client(self.servers, "s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="dead-letters/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        letters = [json.loads(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()) for key in keys]
        return [one for one in letters if stream_arn in (one["stream"], one["record"].get("eventSourceARN"))]

    def archived(self, table: str) -> list[str]:
        """The sequence numbers of a table's archive, each change once."""
        return [one.sequence for one in read_archive(client(self.servers, "s3"), self.bucket, "cdc", table)]

    def indexed(self, table: str) -> dict[str, Any]:
        """All documents of a table."""
        return read_index(self.servers.opensearch.url, table)


def before(url: str) -> TcpProxy:
    """A proxy in front of a server."""
    parts = urlsplit(url)
    return TcpProxy(str(parts.hostname), int(parts.port or 0))


def table_of(arn: str) -> str:
    return arn.split("/")[1]


def records(arn: str, count: int, first: int = 1, items: int = 1000, **attributes: Any) -> list[dict[str, Any]]:
    """Changes of some items in turn, `n` counting."""
    return [
        stream_record(
            {"pk": f"k{number % items}"}, None, {"n": number, **attributes}, sequence=number * 10**20, stream_arn=arn
        )
        for number in range(first, first + count)
    ]


def spoilt(record: dict[str, Any], **attribute: Any) -> str:
    """Put an attribute into the record that can't be written; its sequence number."""
    record["dynamodb"]["NewImage"].update(attribute)
    return str(record["dynamodb"]["SequenceNumber"])


def renamed(event: Any, table: str) -> Any:
    """The event as of this table."""

    def rename(text: str) -> str:
        return text.replace("table/shop/", f"table/{table}/").replace('"shop"', f'"{table}"')

    new = json.loads(rename(json.dumps(event)))
    for record in new["Records"]:
        if "kinesis" in record:
            data = rename(b64decode(record["kinesis"]["data"]).decode())
            record["kinesis"]["data"] = b64encode(data.encode()).decode()
    return new


def settle(function: LambdaFunction, batch: list[Any]) -> None:
    """Invoke until all of the batch is settled, as an event source mapping does."""
    numbers, place = [record["dynamodb"]["SequenceNumber"] for record in batch], 0
    for _ in range(10):
        failures = function.invoke({"Records": batch[place:]})["batchItemFailures"]
        if not failures:
            return
        place = numbers.index(failures[0]["itemIdentifier"])
    pytest.fail(f"only {place} of {len(batch)} records are settled")


@contextmanager
def working(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Let `work` go on within the block, in a thread: it ends once its event is set."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def following(mapping: LocalEventSourceMapping) -> AbstractContextManager[None]:
    """Let the event source mapping work within the block."""
    return working(mapping.run)


def queued(bucket: str, key: str) -> dict[str, Any]:
    """S3's notice of an object, as a queue gives it to a function."""
    notice = payload("lambda-s3")
    notice["Records"][0]["s3"]["bucket"]["name"] = bucket
    notice["Records"][0]["s3"]["object"]["key"] = quote_plus(key)
    return {"Records": [{"messageId": "m", "body": json.dumps(notice)}]}
