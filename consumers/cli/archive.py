"""`cdc archive …`: the archive, read back, each change once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.errors import ConfigError
from consumers.cli.groups import command_group
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.archive import ArchivedChange

__all__ = ["archive_app"]

archive_app = command_group("Read the archive back, each change once.")

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
