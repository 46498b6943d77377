"""Which streams a consumer reads: all that a table has, old and new side by side, asked again while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cdc.aws_errors import code_of
from cdc.errors import ConfigError
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from consumers.kcl.sources.refusals import refusal

__all__ = [
    "TableFacts",
    "client_of",
    "describe_stream",
    "describe_table",
    "is_beginning_trimmed",
    "shards_of_stream",
    "streams_of_table",
    "watching",
]

log = logging.getLogger(__name__)


def client_of(service: Literal["dynamodb", "dynamodbstreams", "kinesis"]) -> Any:
    """A client of boto3's for questions at the start: one that gets no answer gives up within half a minute."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=4, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 2})
    return boto3.client(service, config=config)


@dataclass(frozen=True, slots=True)
class TableFacts:
    """Facts of a table: its key attributes, and its streams."""

    name: str
    keys: tuple[str, ...]
    streams: tuple[Stream, ...]
    view: StreamView


def describe_table(table: str) -> TableFacts:
    """Look the table and its streams up.

    Raises:
        ConfigError: there is no such table, it has no stream, or AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        description = client_of("dynamodb").describe_table(TableName=table)["Table"]
        streams = streams_of_table(table)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "ResourceNotFoundException":
            raise ConfigError(
                f"there is no table {table!r} in this account and region", remedy="Check --table and AWS_REGION."
            ) from error
        raise refusal(
            f"the table {table!r} can't be looked up: {error}",
            error,
            "Allow dynamodb:DescribeTable, dynamodb:ListStreams and dynamodb:DescribeStream.",
        ) from error
    except BotoCoreError as error:
        raise refusal(
            f"AWS can't be asked for the table {table!r}: {error}",
            error,
            "Check AWS_REGION, AWS_ENDPOINT_URL and the credentials.",
        ) from error
    specification = description.get("StreamSpecification", {})
    if not streams:
        raise ConfigError(
            f"the table {table!r} has no stream",
            remedy=f"aws dynamodb update-table --table-name {table} "
            "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        )
    return TableFacts(
        name=table,
        keys=tuple(key["AttributeName"] for key in description["KeySchema"]),
        streams=streams,
        view=StreamView(specification.get("StreamViewType", StreamView.NEW_AND_OLD_IMAGES)),
    )


def streams_of_table(table: str) -> tuple[Stream, ...]:
    """Every stream of the table that can still be read, the newest last: a disabled one stays readable for 24 hours
    (Amazon DynamoDB Developer Guide, "Change data capture for DynamoDB Streams")."""
    client = client_of("dynamodbstreams")
    found: list[Stream] = []
    page = client.list_streams(TableName=table)
    while True:
        found += [Stream.dynamodb(stream["StreamArn"]) for stream in page["Streams"]]
        if "LastEvaluatedStreamArn" not in page:
            return tuple(sorted(found, key=lambda stream: stream.label))
        page = client.list_streams(TableName=table, ExclusiveStartStreamArn=page["LastEvaluatedStreamArn"])


def describe_stream(arn: str) -> TableFacts:
    """Look one stream up, and its table: the facts name that stream alone.

    Raises:
        ConfigError: the ARN is none, there is no such stream (any more), or AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    stream = Stream.dynamodb(arn)
    try:
        found = client_of("dynamodbstreams").describe_stream(StreamArn=arn, Limit=1)["StreamDescription"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("ResourceNotFoundException", "ValidationException"):
            raise ConfigError(
                f"there is no stream {arn}",
                remedy=f"Check --stream-arn and AWS_REGION, or follow the table: --table {stream.table}.",
            ) from error
        raise refusal(
            f"the stream {arn} can't be looked up: {error}", error, "Allow dynamodb:DescribeStream on it."
        ) from error
    except BotoCoreError as error:
        raise refusal(
            f"AWS can't be asked for the stream {arn}: {error}",
            error,
            "Check AWS_REGION, AWS_ENDPOINT_URL and the credentials.",
        ) from error
    return TableFacts(
        name=stream.table,
        keys=tuple(key["AttributeName"] for key in found["KeySchema"]),
        streams=(stream,),
        view=StreamView(found["StreamViewType"]),
    )


def shards_of_stream(arn: str) -> Mapping[str, str] | None:
    """The ids of the stream's shards, open and closed, each with its first sequence number; None if the stream is gone.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = client_of("dynamodbstreams")
    found: dict[str, str] = {}
    start: dict[str, str] = {}
    while True:
        try:
            page = client.describe_stream(StreamArn=arn, **start)["StreamDescription"]
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise refusal(
                f"the shards of {arn} can't be listed: {error}", error, "Allow dynamodb:DescribeStream on it."
            ) from error
        except BotoCoreError as error:
            raise refusal(
                f"AWS can't be asked for the shards of {arn}: {error}", error, "Check that DynamoDB answers."
            ) from error
        for shard in page["Shards"]:
            found[shard["ShardId"]] = shard["SequenceNumberRange"].get("StartingSequenceNumber", "")
        if "LastEvaluatedShardId" not in page:
            return found
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}


def is_beginning_trimmed(arn: str, shard: str) -> bool:
    """Does the stream no longer keep the shard's first records? False if the shard is gone.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    first = (shards_of_stream(arn) or {}).get(shard, "")
    if not first:
        return False
    try:
        client_of("dynamodbstreams").get_shard_iterator(
            StreamArn=arn, ShardId=shard, ShardIteratorType="AT_SEQUENCE_NUMBER", SequenceNumber=first
        )
    except (ClientError, BotoCoreError) as error:
        if code_of(error) == "TrimmedDataAccessException":
            return True
        raise refusal(
            f"{shard} of {arn} can't be read: {error}", error, "Allow dynamodb:GetShardIterator on it."
        ) from error
    return False


def watching(table: str, first: Sequence[Stream]) -> Callable[[], Sequence[Stream]]:
    """A function that lists the table's streams anew; the last known list where AWS does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError

    known = list(first)

    def streams() -> Sequence[Stream]:
        try:
            known[:] = streams_of_table(table) or known
        except (BotoCoreError, ClientError) as error:
            log.warning("the streams of %s can't be listed, the known ones are read on: %s", table, error)
        return tuple(known)

    return streams
