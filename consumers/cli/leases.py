"""`cdc leases …`: see what the consumers of an application have read, and forget a table that they read no more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc.errors import CdcError, ConfigError
from consumers.cli.groups import command_group
from consumers.kcl.leases.handover import StoredLease, stored_leases
from consumers.kcl.sources.refusals import refusal
from consumers.settings import Settings, load_settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["forget", "leases_app", "live_owner", "table_of"]

leases_app = command_group("See what the consumers of an application read, and forget a table.")

_FAILOVER_SECONDS = 10.0
"""The KCL's own: a live worker renews each lease three times within it."""
_LOOK_SECONDS = 1.0

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@leases_app.command("list", epilog="Example: cdc leases list --table shop")
def list_leases(
    table: Annotated[str | None, typer.Option(help="Only leases of this table, or of this Kinesis stream.")] = None,
    as_json: Json = False,
) -> None:
    """List the shards that CDC_APPLICATION knows, by table: the worker that has each, and up to where it is read."""
    settings = load_settings(os.environ)
    found = _found(settings, table)
    if as_json:
        print(json.dumps({"application": settings.application, "leases": [_facts(one) for one in found]}, indent=2))
        return
    for name in sorted({table_of(lease.stream) for lease in found}):
        print(name)
        for lease in found:
            if table_of(lease.stream) == name:
                owner = "read to its end" if lease.ended else lease.owner or "no worker"
                print(f"  {lease.shard}  {owner}  {lease.checkpoint}")


@leases_app.command("forget", epilog="Example: cdc leases forget --table shop --dry-run")
def forget_leases(
    table: Annotated[str, typer.Option(help="The table, or the Kinesis stream, that no worker follows any more.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be forgotten; delete nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a table's leases, and with them the position up to which it is read.

    First take the table out of --table or CDC_TABLES of all workers. If it is followed again later, it is read from the
    oldest record that its stream still has: changes that were never read and are older than 24 hours are lost to index
    and archive. Exit code 1: a live worker still has a lease.
    """
    settings = load_settings(os.environ)
    client = _client()
    found = _found(settings, table)
    if not found:
        raise CdcError(
            f"the application {settings.application!r} has no lease of {table!r}", remedy="`cdc leases list` shows all."
        )
    if dry_run:
        _report(settings, "would_forget", "would be forgotten; nothing was deleted", found, as_json=as_json)
        return
    expiring = (settings.kcl_failover_time_millis or _FAILOVER_SECONDS * 1000) / 1000
    owner = live_owner(found, lambda: _found(settings, table), expiring)
    if owner is not None:
        raise CdcError(
            f"the worker {owner} reads {table!r}: its leases stay",
            remedy=f"Take {table} out of --table or CDC_TABLES of every worker, start them anew, and try again.",
        )
    kept = forget(client, settings.application, found)
    _report(settings, "forgotten", "forgotten", [lease for lease in found if lease not in kept], as_json=as_json)
    if kept:
        raise CdcError(
            f"{len(kept)} leases of {table!r} were taken by a worker meanwhile: they stay",
            remedy="Take the table away from every worker, and try again.",
        )


def live_owner(
    first: Sequence[StoredLease],
    look: Callable[[], Sequence[StoredLease]],
    expiring_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str | None:
    """A worker that has one of the leases and lives: the lease's counter goes on within the time after which a lease
    expires. None: every owner is silent for that long, or there is none."""
    counters = {lease.key: lease.counter for lease in first}
    until = clock() + expiring_seconds
    now: Sequence[StoredLease] = first
    while any(lease.owner for lease in now) and clock() < until:
        sleep(_LOOK_SECONDS)
        now = look()
        for lease in now:
            if lease.owner and counters.get(lease.key) != lease.counter:
                return lease.owner
    return None


def forget(client: DynamoDBClient, application: str, leases: Sequence[StoredLease]) -> list[StoredLease]:
    """Delete each lease unless a worker wrote it since it was looked at; those that stay."""
    kept = []
    for lease in leases:
        try:
            client.delete_item(
                TableName=application,
                Key={"leaseKey": {"S": lease.key}},
                ConditionExpression="leaseCounter = :counter",
                ExpressionAttributeValues={":counter": {"N": str(lease.counter)}},
            )
        except client.exceptions.ConditionalCheckFailedException:
            kept.append(lease)
    return kept


def table_of(stream: str) -> str:
    """The table of a stream, or the Kinesis stream's name, from what the KCL calls the stream: `account:name:created`,
    where the name of a table's stream is `region$account$table$label`."""
    parts = stream.split(":")
    name = parts[1] if len(parts) > 1 else stream
    return name.split("$")[2] if name.count("$") >= 2 else name


def _facts(lease: StoredLease) -> dict[str, Any]:
    return {
        "table": table_of(lease.stream),
        "stream": lease.stream,
        "shard": lease.shard,
        "worker": lease.owner,
        "ended": lease.ended,
        "position": lease.checkpoint,
    }


def _report(settings: Settings, name: str, text: str, leases: Sequence[StoredLease], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"application": settings.application, name: [_facts(one) for one in leases]}, indent=2))
        return
    for lease in leases:
        print(f"{table_of(lease.stream)}  {lease.shard}  read up to {lease.checkpoint}")
    print(f"{len(leases)} leases {text}")


def _client() -> DynamoDBClient:
    from consumers.kcl.sources.streams import client_of

    client: DynamoDBClient = client_of("dynamodb")
    return client


def _found(settings: Settings, table: str | None) -> list[StoredLease]:
    """The application's leases, by stream and shard.

    Raises:
        ConfigError: there is no lease table, or it may not be read.
        ConsumerFailed: DynamoDB is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    def read() -> Iterator[StoredLease]:
        for lease in stored_leases(_client(), settings.application):
            if table in (None, table_of(lease.stream)):
                yield lease

    try:
        return sorted(read(), key=lambda lease: lease.key)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            raise ConfigError(
                f"there is no lease table {settings.application!r}", remedy="Check CDC_APPLICATION and AWS_REGION."
            ) from error
        remedy = "Allow dynamodb:Scan and dynamodb:DeleteItem on it."
        raise refusal(f"the lease table {settings.application!r} can't be read: {error}", error, remedy) from error
    except BotoCoreError as error:
        remedy = "Check AWS_REGION, AWS_ENDPOINT_URL and the credentials."
        raise refusal(f"the lease table {settings.application!r} can't be read: {error}", error, remedy) from error
