"""The pace of a load is kept by the read units that the table itself counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from cdc.loads.pace import Pace
from cdc.loads.table import DynamoDBPages
from cdc.testing import SimulatedClock
from consumers.clients import item_client

pytestmark = pytest.mark.integration

ITEMS, SEGMENTS, LIMIT = 1200, 16, 5.0


@pytest.fixture
def orders(aws: Any) -> Iterator[str]:
    """A table of items of 1 KB."""
    client, name = aws("dynamodb"), f"orders-{uuid4().hex[:8]}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    for start in range(0, ITEMS, 25):
        batch = [{"pk": {"S": f"{number}"}, "note": {"S": "x" * 1000}} for number in range(start, start + 25)]
        client.batch_write_item(RequestItems={name: [{"PutRequest": {"Item": item}} for item in batch]})
    yield name
    client.delete_table(TableName=name)


def test_a_table_is_read_at_the_pace_that_was_asked_for(orders: str) -> None:
    clock = SimulatedClock()
    pages, pace = DynamoDBPages(item_client(30.0)), Pace(LIMIT, clock=clock, sleep=clock.sleep)
    began, counted, items = clock(), 0.0, 0
    for segment in range(SEGMENTS):
        pace.wait()
        page = pages.page(orders, segment, SEGMENTS, None)
        pace.spent(page.read_units)
        counted, items = counted + page.read_units, items + len(page.items)
    pace.wait()  # the last page is paid for
    assert items == ITEMS
    assert counted == pytest.approx(ITEMS * 1003 / 4096 / 2, rel=0.05)
    assert counted / (clock() - began) == pytest.approx(LIMIT, rel=0.05)
