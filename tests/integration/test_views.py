"""Streams of every view: what the records leave out is read back from the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cdc import Deadline
from cdc.errors import SinkUnavailable
from cdc.item_reader import DynamoDBItems
from cdc.records.attributes import decode_item
from consumers.aws_lambda import changes as aws_lambda
from local.demo.traffic import make_table
from tests.integration.test_whole_way import Context, deployment, in_index, in_stream, in_table, lambda_record, write

__all__ = ["deployment"]


@pytest.fixture
def view(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def table(aws: Any, view: str) -> tuple[str, str]:
    """A new table whose stream has the view."""
    name = f"table-{uuid4().hex[:12]}"
    return name, make_table(aws("dynamodb"), name, view)  # type: ignore[arg-type]  # a parameter of the test


@pytest.fixture
def deliver(
    deployment: dict[str, str], aws: Any, table: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Delivers the whole stream to the handler, in batches."""
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()

    def all_of_it() -> None:
        records = [lambda_record(record, table[1]) for record in in_stream(aws("dynamodbstreams"), table[1])]
        for start in range(0, len(records), 20):
            answer = aws_lambda.handler({"Records": records[start : start + 20]}, Context())
            assert answer == {"batchItemFailures": []}

    return all_of_it


@pytest.mark.parametrize("view", ["KEYS_ONLY", "OLD_IMAGE", "NEW_IMAGE", "NEW_AND_OLD_IMAGES"], indirect=True)
def test_the_index_equals_the_table_whatever_the_view(
    deliver: Callable[[], None], aws: Any, table: tuple[str, str], opensearch: Any, index: str
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(40))
    deliver()
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])
    write(dynamodb, table[0], range(40, 60))
    deliver()
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])


@pytest.mark.parametrize("view", ["KEYS_ONLY"], indirect=True)
def test_items_are_read_in_the_order_of_their_keys_and_absent_ones_are_none(aws: Any, table: tuple[str, str]) -> None:
    write(aws("dynamodb"), table[0], range(7))
    keys = [{"pk": {"S": name}, "sk": {"S": "x"}} for name in ("k3", "nobody", "k1", "k3")]
    found = DynamoDBItems(aws("dynamodb")).read(table[0], keys * 60, Deadline.after(30))
    numbers = [None if item is None else decode_item(item)["n"] for item in found[:4]]
    assert (numbers, len(found)) == ([3, None, 1, 3], 240)
    with pytest.raises(SinkUnavailable, match="ResourceNotFoundException"):
        DynamoDBItems(aws("dynamodb")).read("no-such-table", keys, Deadline.after(30))
