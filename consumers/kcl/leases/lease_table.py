"""The lease table: made before the scheduler starts, filled at a first start, looked at for shards that are gone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from cdc.aws_errors import code_of
from cdc.errors import CdcError, ConfigError, ConsumerFailed
from consumers.kcl.leases.gaps import Gap, Gaps, made_at
from consumers.kcl.sources.refusals import refusal
from consumers.kcl.sources.retrieval import Retrieval
from consumers.kcl.sources.streams import client_of

__all__ = [
    "check_application",
    "check_shards",
    "lease_table",
    "leases_of_children",
    "make_leases",
    "refused",
    "unclaimed",
]

_DENIED = re.compile(r"not authorized to perform: (\S+) on resource: (\S+)")
_RACED = re.compile(r"still in use|being created|already exists")
_AWAY = re.compile(r"Unable to execute HTTP request|Connection refused|[Tt]imed out|Rate exceeded|Status Code: 5\d\d")
_RACE_SECONDS = 300.0
_END = "SHARD_END"
_LISTED_AFTER_SECONDS = 6 * 3600.0
"""A shard that is younger may not be listed yet; the adapter waits as long before it calls a lease garbage."""


def check_application(application: str) -> None:
    """Refuse an application whose name is that of a table which is no lease table: the KCL would write into it.

    Raises:
        ConfigError: it is, or AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        keys = client_of("dynamodb").describe_table(TableName=application)["Table"]["KeySchema"]
    except (ClientError, BotoCoreError) as error:
        if code_of(error) == "ResourceNotFoundException":
            return  # it will be made
        raise refusal(
            f"the lease table {application!r} can't be looked up: {error}",
            error,
            "Allow dynamodb:DescribeTable on it.",
        ) from error
    names = [key["AttributeName"] for key in keys]
    if names != ["leaseKey"]:
        raise ConfigError(
            f"{application!r} is a table of its own, with the keys {', '.join(names)}: leases would be written into it",
            remedy="Set CDC_APPLICATION to a name that no other table has.",
        )


def lease_table(leases: Any) -> Any:
    """The LeaseRefresher of the lease table, which is made if it is not there; another worker that starts at the same
    time may be making it.

    Raises:
        ConfigError: it does not become active.
    """
    refresher = leases.createLeaseRefresher()
    _made(refresher.createLeaseTableIfNotExists)
    if not refresher.waitUntilLeaseTableExists(1, 300):
        raise ConfigError("the lease table does not become active", remedy="Look at it in DynamoDB's console.")
    _made(refresher.createLeaseOwnerToLeaseKeyIndexIfNotExists)
    if not refresher.waitUntilLeaseOwnerToLeaseKeyIndexExists(1, 300):
        raise ConfigError("the lease table's index does not become active", remedy="Look at it in DynamoDB's console.")
    return refresher


def _made(make: Callable[[], Any]) -> None:
    """The KCL looks whether it is there, and then makes it: in between another may have."""
    Retrying(
        retry=retry_if_exception(lambda error: any(map(_RACED.search, _causes(error)))),
        wait=wait_fixed(1),
        stop=stop_after_delay(_RACE_SECONDS),
        reraise=True,
    )(make)


def _causes(error: Any) -> Iterator[str]:
    """The messages of a Java exception and of what caused it."""
    while error is not None:
        yield str((error.getMessage() or "") if hasattr(error, "getMessage") else error)
        error = error.getCause() if hasattr(error, "getCause") else None


def make_leases(refresher: Any, configs: Sequence[Any], sync_manager: Callable[[Any], Any]) -> None:
    """Make the leases of streams that have none, by the KCL's own calls: the scheduler would wait up to half a minute
    before it does the same.

    Raises:
        ConfigError: the shards can't be listed.
    """
    for config in configs:
        if refresher.listLeasesForStream(config.streamIdentifier()).isEmpty():
            result = sync_manager(config).callShardSyncTask()
            if result.getException() is not None:
                raise ConfigError(
                    f"the shards of {config.streamIdentifier().serialize()} can't be listed: {result.getException()}",
                    remedy="Allow dynamodb:DescribeStream, GetShardIterator and GetRecords on the stream, or "
                    "kinesis:ListShards, GetShardIterator and GetRecords.",
                )


def leases_of_children(jpype: Any, syncs: Any) -> Any:
    """`syncs`, a ShardSyncTaskManager, whose syncer makes leases of a shard's children that name their stream.

    The adapter 2.0.1 does not tell the KCL's part of its syncer that there are several streams (its later source does).
    The end of a shard would then fail again and again, until a sync of all shards, every two minutes, made the leases.
    """
    told = jpype.JClass("software.amazon.kinesis.leases.HierarchicalShardSyncer").class_.getDeclaredField(
        "isMultiStreamMode"
    )
    told.setAccessible(True)
    told.setBoolean(syncs.hierarchicalShardSyncer(), True)
    return syncs


def check_shards(
    refresher: Any, retrieval: Retrieval, follows: Callable[[str], bool], name: Callable[[str], str], gaps: Gaps
) -> None:
    """Report a gap for every unfinished lease whose shard, or whose next record, no longer exists.

    The KCL would delete such a lease, or take the shard for read, or begin where the stream now begins. Leases of
    streams that this consumer does not follow are another's.

    Raises:
        ConsumerFailed: one is gone, and the consumer is to stop then.
        SinkUnavailable: the gap could not be recorded.
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    listed: dict[str, Collection[str] | None] = {}
    leases = list(refresher.listLeases())
    ended = {_shard_of(lease) for lease in leases if _checkpoint(lease) == _END}
    for lease in leases:
        checkpoint = _checkpoint(lease)
        arn = retrieval.arn(str(lease.streamIdentifier()))
        if checkpoint == _END or arn is None or not follows(arn):
            continue
        if arn not in listed:
            listed[arn] = retrieval.shards(arn)
        shards, shard = listed[arn], str(lease.shardId())
        made = made_at(shard)
        after = checkpoint if checkpoint.isdecimal() else ""
        if shards is not None and shard in shards:
            # a child of a shard that was read to its end, and not begun: all of it has yet to be read
            unread = checkpoint == "TRIM_HORIZON" and any(parent in ended for parent in _parents(lease))
            if (after or unread) and retrieval.trimmed(arn, shard, after):
                gaps.found(Gap(arn, name(arn), shard, after, whole_shard=False))
            continue
        if shards is not None and made is not None and time.time() - made < _LISTED_AFTER_SECONDS:
            continue
        gaps.found(Gap(arn, name(arn), shard, after, whole_shard=True))
        refresher.deleteLease(lease)  # nothing is left to read: else it would be found at every start


def _checkpoint(lease: Any) -> str:
    return str(lease.checkpoint().sequenceNumber()) if lease.checkpoint() is not None else ""


def _shard_of(lease: Any) -> tuple[str, str]:
    return str(lease.streamIdentifier()), str(lease.shardId())


def _parents(lease: Any) -> Iterator[tuple[str, str]]:
    for parent in lease.parentShardIds() or ():
        yield str(lease.streamIdentifier()), str(parent)


def refused(error: Any, application: str) -> CdcError:
    """The error for a Java exception from the lease table: ConfigError, which names action and resource where AWS
    denied one, or ConsumerFailed where DynamoDB is out of reach."""
    text = str(error)
    for message in _causes(error):
        if found := _DENIED.search(message):
            return ConfigError(
                f"the lease table can't be used: not allowed to perform {found[1]} on {found[2]}",
                remedy="Allow dynamodb:CreateTable, DescribeTable, UpdateTable, GetItem, PutItem, UpdateItem, "
                f"DeleteItem, Query and Scan on the tables whose names begin with {application!r}, and their indices.",
            )
        text = message or text
    kind = ConsumerFailed if any(map(_AWAY.search, _causes(error))) else ConfigError
    return kind(
        f"the KCL can't use its lease table {application!r}: {text:.300}",
        remedy="Check AWS_REGION and AWS_ENDPOINT_URL, and that DynamoDB answers.",
    )


def unclaimed(refresher: Any) -> int:
    """How many shards that are not at their end no worker has a lease of."""
    return sum(lease.leaseOwner() is None and _checkpoint(lease) != _END for lease in refresher.listLeases())
