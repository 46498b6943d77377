"""`cdc archive …`: the archive, read back, each change once; and replayed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.errors import ConfigError
from consumers.cli.groups import command_group
from consumers.cli.moments import moment_of
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.archive import ArchivedChange

__all__ = ["archive_app"]

archive_app = command_group("Read the archive back, each change once, or replay it.")


class Destination(StrEnum):
    """Where archived changes may be replayed to."""

    INDEX = "index"
    FUNCTIONS = "functions"


Table = Annotated[str | None, typer.Option(help="Only this table's changes.")]


@archive_app.command("cat", epilog="Example: cdc archive cat --table shop | head -1")
def cat_archive(table: Table = None) -> None:
    """Print each archived change once, a line of JSON each, by stream and sequence number."""
    for archived in _archived(table):
        sys.stdout.buffer.write(archived.line + b"\n")
    sys.stdout.flush()


@archive_app.command("count", epilog="Example: cdc archive count --table shop --json")
def count_archive(
    table: Table = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False
) -> None:
    """Count the archived changes, each once."""
    count = sum(1 for _ in _archived(table))
    print(json.dumps({"changes": count}) if as_json else count)


@archive_app.command("replay", epilog="Example: cdc archive replay --table shop --since 26h")
def replay_archive(
    table: Annotated[str, typer.Option(help="The table whose changes are replayed.")],
    since: Annotated[str, typer.Option(help="Changes made since: 2026-01-15T09:30 (UTC), or 26h, 3d (ago).")],
    until: Annotated[str | None, typer.Option(help="Only changes made before: as --since.")] = None,
    index: Annotated[str | None, typer.Option(help="Only this index of the mapping.")] = None,
    sink: Annotated[list[Destination] | None, typer.Option(help="Where to; default: index. May be repeated.")] = None,
    functions: Annotated[
        str | None, typer.Option(help="A Python module with on_insert, on_modify, on_remove: for --sink functions.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, for machines.")] = False,
) -> None:
    """Write archived changes once more, each at its own version: what an index holds of newer ones stays.

    It may be repeated, and killed at any moment. Functions are called again for each change, marked as redriven.
    Exit codes: 0 done; 1 some changes became dead letters, or a server is out of reach; 2 the set-up is wrong.
    """
    from consumers.cli.replaying import Replaying

    sinks = sink or [Destination.INDEX]
    if (Destination.FUNCTIONS in sinks) != (functions is not None):
        raise ConfigError(
            "--sink functions and --functions go together", remedy="Give both: --sink functions --functions MODULE."
        )
    if index is not None and Destination.INDEX not in sinks:
        raise ConfigError("--index is given, and no index is written to", remedy="Add --sink index, or leave it out.")
    first, last = moment_of(since), moment_of(until)
    if last is not None and last <= first:
        raise ConfigError(f"--until {until} is not later than --since {since}", remedy="Give a later time.")
    replaying = Replaying(table, first, last, index, to_index=Destination.INDEX in sinks, functions=functions)
    if replaying.run(os.environ, as_json=as_json).dead_letters:
        raise typer.Exit(1)


def _archived(table: str | None) -> Iterator[ArchivedChange]:
    from botocore.exceptions import BotoCoreError, ClientError

    from cdc.archive import read_archive
    from consumers.clients import aws_client

    settings = load_settings(os.environ)
    if settings.archive_bucket is None:
        raise ConfigError("no archive bucket is configured", remedy="Set CDC_ARCHIVE_BUCKET.")
    try:
        client = aws_client("s3", settings.archive_role_arn)
        yield from read_archive(client, settings.archive_bucket, settings.archive_prefix, table)
    except (BotoCoreError, ClientError) as error:
        raise ConfigError(
            f"the archive s3://{settings.archive_bucket}/{settings.archive_prefix} can't be read: {error}",
            remedy="Check CDC_ARCHIVE_BUCKET and AWS_REGION, and allow s3:ListBucket and s3:GetObject.",
        ) from error
