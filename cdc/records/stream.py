"""Streams: where changes come from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cdc.errors import ConfigError
from cdc.records.versions import minute_at

__all__ = ["Stream", "without_consumer"]


_STREAM_ARN = re.compile(r"(arn:[^:]+:dynamodb:[^:]+:[^:]*:table/([^/]+))/stream/(.+)")


_KINESIS_ARN = re.compile(r"(arn:([^:]+):kinesis:([^:]+:[^:]*):stream/([^/]+))(?:/consumer/[^/]+)?")


def without_consumer(arn: str) -> str:
    """The ARN of the Kinesis stream that a consumer with enhanced fan-out (`…/consumer/<name>:<time>`) reads."""
    found = _KINESIS_ARN.fullmatch(arn)
    return arn if found is None else found[1]


@dataclass(frozen=True, slots=True)
class Stream:
    """Where changes come from. `label` tells the streams of one table apart: for DynamoDB the time of creation."""

    arn: str
    table: str
    table_arn: str
    label: str
    minute: int | None
    """Minutes since 2020-01-01T00:00Z of the stream's creation; None for Kinesis, whose changes rank by their own."""

    @classmethod
    def dynamodb(cls, arn: str) -> Stream:
        """The stream of `arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<label>`.

        Raises:
            ConfigError: the ARN is not that of a DynamoDB stream.
        """
        return _dynamodb_stream(arn)

    @classmethod
    def kinesis(cls, arn: str, table: str) -> Stream:
        """A Kinesis data stream that carries the changes of `table`, which is of its account and region (Amazon
        DynamoDB Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB"). The ARN may be that of a
        consumer with enhanced fan-out: it is the same stream."""
        found = _KINESIS_ARN.fullmatch(arn)
        if found is None:
            raise ConfigError(
                f"{arn!r} is not the ARN of a Kinesis data stream",
                remedy="It looks like arn:aws:kinesis:<region>:<account>:stream/<name>.",
            )
        table_arn = f"arn:{found[2]}:dynamodb:{found[3]}:table/{table}"
        return cls(arn=found[1], table=table, table_arn=table_arn, label=found[4], minute=None)


@lru_cache(maxsize=256)
def _dynamodb_stream(arn: str) -> Stream:
    found = _STREAM_ARN.fullmatch(arn)
    if found is None:
        raise ConfigError(
            f"{arn!r} is not the ARN of a DynamoDB stream",
            remedy="It looks like arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<time>; "
            "`aws dynamodb describe-table` prints it as LatestStreamArn.",
        )
    try:
        created = datetime.fromisoformat(found[3])
    except ValueError as error:
        raise ConfigError(f"{arn!r} does not end in the stream's time of creation") from error
    created = created if created.tzinfo else created.replace(tzinfo=UTC)
    minute = minute_at(created.timestamp())
    return Stream(arn=arn, table=found[2], table_arn=found[1], label=found[3], minute=minute)
