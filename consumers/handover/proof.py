"""Proof: is every record that the stream still has in the archive?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cdc.archive import DYNAMODB_REACH, read_archive
from cdc.aws_errors import translated
from cdc.loads.deployment import ArchivePlace
from consumers.kcl.sources.refusals import refusal

__all__ = ["ShardProof", "missing_of", "records_of"]

_EMPTY_PAGES = 30
"""So many pages without a record in a row are the end of what an open shard holds."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ShardProof:
    """The records of one shard, and those of them that the archive lacks."""

    shard: str
    records: int
    missing: int
    examples: tuple[str, ...] = ()
    """Some sequence numbers that are missing."""


def records_of(
    client: Any, stream_arn: str, shards: Collection[str], since: datetime, until: datetime
) -> Mapping[str, Sequence[str]]:
    """The sequence numbers of the records that were made within this time, by shard, of what the stream still has.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return {shard: list(_records(client, stream_arn, shard, since, until)) for shard in shards}
    except (ClientError, BotoCoreError) as error:
        remedy = "Allow dynamodb:GetShardIterator and dynamodb:GetRecords on the stream."
        raise refusal(f"{stream_arn} can't be read: {error}", error, remedy) from error


def _records(client: Any, stream_arn: str, shard: str, since: datetime, until: datetime) -> Iterator[str]:
    iterator = client.get_shard_iterator(StreamArn=stream_arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    token, empty = iterator.get("ShardIterator"), 0
    while token and empty < _EMPTY_PAGES:
        page = client.get_records(ShardIterator=token, Limit=1000)
        for record in page["Records"]:
            made = record["dynamodb"]["ApproximateCreationDateTime"]
            if made > until:
                return
            if made >= since:
                yield record["dynamodb"]["SequenceNumber"]
        empty = 0 if page["Records"] else empty + 1
        token = page.get("NextShardIterator")


def missing_of(
    place: ArchivePlace, table: str, stream_arn: str, records: Mapping[str, Sequence[str]], since: datetime
) -> Sequence[ShardProof]:
    """Which of the records the archive lacks.

    Raises:
        MalformedRecord: the archive holds what is none of it.
        SinkUnavailable: the archive can't be read.
    """
    remedy = "Check CDC_ARCHIVE_BUCKET and AWS_REGION, and allow s3:ListBucket and s3:GetObject."
    with translated("archive", f"s3://{place.bucket}/{place.prefix} can't be read", remedy):
        archive = read_archive(
            place.client,
            place.bucket,
            place.prefix,
            table,
            since=since - timedelta(seconds=1),
            reach=DYNAMODB_REACH,
            at_once=place.at_once,
        )
        archived = {int(one.sequence) for one in archive if one.stream == stream_arn}
    return [_proof(shard, numbers, archived) for shard, numbers in sorted(records.items())]


def _proof(shard: str, numbers: Sequence[str], archived: Collection[int]) -> ShardProof:
    lacking = [number for number in numbers if int(number) not in archived]
    return ShardProof(shard, len(numbers), len(lacking), tuple(lacking[:_SHOWN]))
