"""`cdc handover`: a table's reading given from the consumer to the Lambda, or back."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cdc.errors import ConfigError
from consumers.exit_codes import FAILED
from consumers.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from consumers.handover.handing_over import HandedOver, HandingOver, Readers, Step
    from consumers.kcl.leases.handover import StoredLease

__all__ = ["hand_over"]

_FAILOVER_SECONDS = 10.0


def hand_over(
    table: Annotated[str, typer.Option(help="The table; it is read through its own stream.")],
    to: Annotated[
        Literal["lambda", "consumer"] | None, typer.Option(help="Who is to read it from now on.", show_default=False)
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Only show who reads it now.")] = False,
    function: Annotated[
        str | None, typer.Option(help="The Lambda function; default: the only one that reads the stream.")
    ] = None,
    repeats: Annotated[
        bool, typer.Option("--repeats", help="Functions of yours bear to get changes of the last 24 hours again.")
    ] = False,
    since: Annotated[str, typer.Option(help="How far back the proof looks.")] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for machines.")] = False,
) -> None:
    """Let the new reader begin beside the old one, end the old one when the new one works, and prove by the archive
    that no change was missed. Both write everything meanwhile: nothing is lost, and nothing older ends over something
    newer.

    The Lambda is switched on and off by the command. The consumer is started and stopped by you, when the command says
    so. It may be killed at any moment: the same command goes on. Exit codes: 0 handed over and proven; 1 changes are
    missing in the archive, or it failed; 2 the set-up is wrong.
    """
    if to is None and not status:
        raise ConfigError("nothing is asked for", remedy="Say --to lambda, --to consumer, or --status.")

    def observe(step: Step) -> None:
        print(json.dumps({"step": step.text}) if as_json else f"{step.text} …", file=sys.stderr, flush=True)

    handing = _of(load_settings(os.environ), table, function, repeats, since, observe)
    if to is None:
        _show_readers(handing.readers(), as_json=as_json)
        return
    done = handing.run(to)
    _show_proof(done, as_json=as_json)
    if not done.is_whole:
        raise typer.Exit(FAILED)


def _of(
    settings: Settings,
    table: str,
    function: str | None,
    repeats: bool,
    since: str,
    observe: Callable[[Step], None],
) -> HandingOver:
    import boto3

    from cdc.duration import parse_seconds
    from cdc.loads.deployment import ArchivePlace
    from consumers.cli.leases import live_owner
    from consumers.clients import aws_client
    from consumers.handover.handing_over import HandingOver
    from consumers.kcl.leases.handover import stored_leases
    from consumers.kcl.sources.streams import client_of, describe_table, shards_of_stream

    if settings.kinesis_stream_arn is not None:
        raise ConfigError(
            f"{table} is read through Kinesis (CDC_KINESIS_STREAM_ARN), and is handed over by hand",
            remedy="Start the new reader at TRIM_HORIZON, wait until it is not behind, then stop the old one.",
        )
    if settings.archive_bucket is None:
        raise ConfigError(
            "there is no archive, and so no proof that no change was missed",
            remedy="Set CDC_ARCHIVE_BUCKET for both readers; or hand over by hand, and run cdc verify.",
        )
    stream = describe_table(table).streams[-1]
    dynamodb = client_of("dynamodb")

    def shards() -> Collection[str]:
        return shards_of_stream(stream.arn) or ()

    def leases() -> Sequence[StoredLease]:
        known = set(shards())
        try:
            return [lease for lease in stored_leases(dynamodb, settings.application) if lease.shard in known]
        except dynamodb.exceptions.ResourceNotFoundException:
            return []

    expiring = (settings.kcl_failover_time_millis or _FAILOVER_SECONDS * 1000) / 1000
    return HandingOver(
        table,
        stream.arn,
        boto3.client("lambda"),
        client_of("dynamodbstreams"),
        leases,
        lambda first: live_owner(first, leases, expiring),
        shards,
        ArchivePlace(
            aws_client("s3", settings.archive_role_arn, settings.aws_timeout_seconds, attempts=8),
            settings.archive_bucket,
            settings.archive_prefix,
            at_once=8,
        ),
        settings.application,
        function,
        repeats,
        timedelta(seconds=parse_seconds(since)),
        observe=observe,
    )


def _show_readers(readers: Readers, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        print(json.dumps({**msgspec.to_builtins(readers), "lambda_reads": readers.lambda_reads}))
        return
    mapping = readers.mapping
    print(f"{readers.table}: {readers.stream}")
    if mapping is None:
        print("  Lambda: no function reads it")
    else:
        print(f"  Lambda: {mapping.function}, {mapping.state}; last result: {mapping.result or 'none'}")
    print(f"  consumer: {'worker ' + readers.worker if readers.worker else 'no worker lives'}")
    for shard, position in sorted(readers.positions.items()):
        print(f"    {shard}  {position}")


def _show_proof(done: HandedOver, *, as_json: bool) -> None:
    import msgspec

    if as_json:
        print(json.dumps({"result": {**msgspec.to_builtins(done), "whole": done.is_whole}}), flush=True)
        return
    for shard in done.proof:
        lacks = f"{shard.missing:,} missing, such as {', '.join(shard.examples)}" if shard.missing else "none missing"
        print(f"{shard.shard}: {shard.records:,} records since {done.since:%Y-%m-%d %H:%M:%S} UTC, {lacks}")
    if done.is_whole:
        print(f"{done.table} is read by the {done.reader}: no hole in the archive of any shard")
    else:
        print(f"{done.table} is read by the {done.reader}, and the archive has holes: start the old reader again")
