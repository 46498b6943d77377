"""Exports of a real engine: asked for, read, equal to the table."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from cdc.errors import ConfigError
from cdc.loads.export import check_export, read_export
from cdc.loads.export_files import items_of_file
from cdc.loads.export_request import ExportAwaited, request_export
from cdc.loads.table import DynamoDBPages, SourceTable
from cdc.records.attributes import Item, decode_item
from local.demo.traffic import make_table

ITEMS = 10_500
"""More than the engine writes to one file."""


@pytest.fixture
def table(aws: Any) -> SourceTable:
    """A new table with items of all types."""
    name = f"exported-{uuid4().hex[:8]}"
    make_table(aws("dynamodb"), name)
    return DynamoDBPages(aws("dynamodb")).describe(name)


def recover(aws: Any, table: SourceTable) -> None:
    """Switch on point-in-time recovery."""
    aws("dynamodb").update_continuous_backups(
        TableName=table.name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def test_an_export_that_was_asked_for_is_the_table(aws: Any, bucket: str, table: SourceTable) -> None:
    client = aws("dynamodb")
    fill(client, table.name)
    recover(aws, table)
    seen: list[ExportAwaited] = []
    location = request_export(client, table, bucket, "of/shop", job="one", observe=seen.append)
    again = request_export(client, table, bucket, "of/shop", job="one")
    assert again == location
    assert seen[-1].status == "COMPLETED"
    export = read_export(aws("s3"), location)
    check_export(export, table)
    assert export.item_count == ITEMS
    assert len(export.files) > 1
    exported = by_key(item for file in export.files for item in items_of_file(aws("s3"), export, file))
    pages = client.get_paginator("scan").paginate(TableName=table.name)
    assert exported == by_key(item for page in pages for item in page["Items"])


def test_without_point_in_time_recovery_the_command_is_named(aws: Any, bucket: str, table: SourceTable) -> None:
    with pytest.raises(ConfigError, match="update-continuous-backups --table-name exported-"):
        request_export(aws("dynamodb"), table, bucket, "", job="one")


def test_an_export_to_a_bucket_that_is_not_there_tells_so(aws: Any, table: SourceTable) -> None:
    recover(aws, table)
    with pytest.raises(ConfigError, match=r"to s3://nowhere-.* failed: S3NoSuchBucket: "):
        request_export(aws("dynamodb"), table, f"nowhere-{uuid4().hex[:8]}", "", job="one")


def fill(client: Any, table: str) -> None:
    """Write items of every type."""
    for start in range(0, ITEMS, 25):
        puts = [{"PutRequest": {"Item": item(number)}} for number in range(start, min(start + 25, ITEMS))]
        left = client.batch_write_item(RequestItems={table: puts})["UnprocessedItems"]
        assert not left


def item(number: int) -> dict[str, Any]:
    """An item with a number of 38 digits, sets, binary, and what may stand in a map."""
    return {
        "pk": {"S": f"ü{number % 7}"},
        "sk": {"S": str(number)},
        "n": {"N": str(10**37 + number)},
        "small": {"N": "1E-130"},
        "b": {"B": bytes([number % 256, 255])},
        "bs": {"BS": [b"\x00", b"\xff"]},
        "ns": {"NS": ["1", "2.5"]},
        "m": {"M": {"a.b": {"NULL": True}, "l": {"L": [{"BOOL": False}, {"S": "line\nbreak"}]}}},
    }


def by_key(items: Any) -> dict[tuple[Any, Any], Item]:
    """Items decoded, by their keys."""
    decoded = map(decode_item, items)
    return {(one["pk"], one["sk"]): one for one in decoded}
