"""The table as a whole: what it is, and its items page by page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cdc.aws_errors import code_of, translated
from cdc.errors import ConfigError, SinkUnavailable
from cdc.item_reader import for_boto3
from cdc.records.attributes import RawItem
from cdc.records.change import StreamView
from cdc.records.stream import Stream

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

__all__ = ["DynamoDBPages", "Page", "SourceTable", "TablePages"]


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table as DescribeTable tells it (Amazon DynamoDB API Reference, "TableDescription")."""

    name: str
    arn: str
    id: str
    """Another table of the same name has another one."""
    keys: tuple[str, ...]
    """The key attributes, the partition key first."""
    key_types: tuple[str, ...]
    """Their types (S, N or B), in the same order."""
    item_count: int
    """DynamoDB's own count, up to six hours old."""
    size_bytes: int
    """Its size, as old as the count."""
    stream: Stream | None
    """The stream that is on."""
    view: StreamView | None


@dataclass(frozen=True, slots=True)
class Page:
    """Items that one request has read, as DynamoDB JSON."""

    items: Sequence[RawItem]
    after: RawItem | None
    """The key to go on after; None behind the last page."""
    read_units: float
    began_micros: int
    """Microseconds since 1970 when the request began: what is written later may be missing."""


class TablePages(Protocol):
    """Reads whole tables."""

    def describe(self, table: str) -> SourceTable:
        """The table as it is now.

        Raises:
            ConfigError: there is no such table, or it may not be described.
            SinkUnavailable: DynamoDB is out of reach.
        """
        ...

    def page(
        self,
        table: str,
        segment: int,
        segments: int,
        after: RawItem | None,
        *,
        consistent: bool = False,
        limit: int = 0,
    ) -> Page:
        """The page behind `after` of segment `segment` (from 0) of `segments`; at most 1 MB, and `limit` items.

        Raises:
            ConfigError: the table may not be scanned, or is gone.
            SinkUnavailable: throttled (`CauseKind.OVERLOADED`) or out of reach; ask again.
        """
        ...


@dataclass(frozen=True)
class DynamoDBPages:
    """Tables read by DescribeTable and parallel Scan (Amazon DynamoDB Developer Guide, "Parallel scan")."""

    client: DynamoDBClient
    now: Callable[[], float] = time.time

    def describe(self, table: str) -> SourceTable:
        """See `TablePages.describe`."""
        remedy = f"Allow dynamodb:DescribeTable on {table}, and check AWS_REGION."
        found = _asked(table, remedy, lambda: self.client.describe_table(TableName=table))["Table"]
        arn, view = found.get("LatestStreamArn"), found.get("StreamSpecification", {})
        is_on = bool(view.get("StreamEnabled")) and bool(arn)
        keys = tuple(key["AttributeName"] for key in sorted(found["KeySchema"], key=lambda one: one["KeyType"]))
        types = {one["AttributeName"]: one["AttributeType"] for one in found["AttributeDefinitions"]}
        return SourceTable(
            name=found["TableName"],
            arn=found["TableArn"],
            id=found.get("TableId", ""),
            keys=keys,
            key_types=tuple(types[key] for key in keys),
            item_count=found.get("ItemCount", 0),
            size_bytes=found.get("TableSizeBytes", 0),
            stream=Stream.dynamodb(arn) if is_on else None,
            view=StreamView(view["StreamViewType"]) if is_on else None,
        )

    def page(
        self,
        table: str,
        segment: int,
        segments: int,
        after: RawItem | None,
        *,
        consistent: bool = False,
        limit: int = 0,
    ) -> Page:
        """See `TablePages.page`."""
        more: dict[str, Any] = {}
        if after is not None:
            more["ExclusiveStartKey"] = for_boto3(after)
        if limit:
            more["Limit"] = limit
        began = int(self.now() * 1_000_000)
        answer = _asked(
            table,
            f"Allow dynamodb:Scan on {table}.",
            lambda: self.client.scan(
                TableName=table,
                Segment=segment,
                TotalSegments=segments,
                ConsistentRead=consistent,
                ReturnConsumedCapacity="TOTAL",
                **more,
            ),
        )
        units = float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0))
        return Page(answer.get("Items", ()), answer.get("LastEvaluatedKey"), units, began)


def _asked(table: str, remedy: str, ask: Callable[[], Any]) -> Any:
    try:
        with translated("table", f"the table {table} can't be read", remedy, quotes=False):
            return ask()
    except SinkUnavailable as error:
        code = code_of(error.__cause__)
        if code in ("ResourceNotFoundException", "TableNotFoundException"):
            raise ConfigError(
                f"there is no table {table} here", remedy="Check its name, AWS_REGION and the credentials."
            ) from error
        if code in ("AccessDeniedException", "UnrecognizedClientException", "ValidationException"):
            raise ConfigError(f"the table {table} can't be read: {code}", remedy=remedy) from error
        raise
