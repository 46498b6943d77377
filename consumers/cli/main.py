"""`cdc …`: the consumer, and what people ask of mappings, archive and settings."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cdc.errors import CdcError, ConfigError, SinkMisconfigured
from consumers.cli.dead_letters import dead_letters_app
from consumers.cli.leases import leases_app
from consumers.cli.mappings import mappings_app
from consumers.cli.tombstones import tombstones_app
from consumers.logs import configure_logging
from consumers.settings import describe, load_settings
from local.lambda_cost import print_cost

__all__ = ["main"]

app = typer.Typer(
    help="Keep OpenSearch and S3 equal to DynamoDB tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
archive_app = typer.Typer(help="Read the archive back, each change once.", no_args_is_help=True)
app.add_typer(mappings_app, name="mappings")
app.add_typer(archive_app, name="archive")
app.add_typer(tombstones_app, name="tombstones")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(leases_app, name="leases")
app.command("cost", epilog="Example: cdc cost --duration-ms 180 --batch 500 --rate 1000")(print_cost)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def main() -> None:
    """Run the command of the arguments. Exit code 2: the configuration is wrong; 1: anything else failed."""
    if region := os.environ.get("AWS_REGION"):  # which ECS sets, and which boto3 alone does not read
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    try:
        app(standalone_mode=True)
    except CdcError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, ConfigError | SinkMisconfigured) else 1
        _end_beside_java(code)
        sys.exit(code)
    except SystemExit as end:
        _end_beside_java(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
        raise


def _end_beside_java(code: int) -> None:
    """End the process at once if a JVM runs in it: everything is flushed and closed by now, and a thread of Java's that
    calls Python while that ends would abort the process."""
    if "consumers.kcl.java.jvm" in sys.modules:
        from consumers.kcl.java.jvm import end_process

        end_process(code)


@app.command(epilog="Example: cdc run --table shop --table orders")
def run(
    table: Annotated[
        list[str] | None, typer.Option(help="A table: every stream of it is read, old and new. May be repeated.")
    ] = None,
    stream_arn: Annotated[str | None, typer.Option(help="One stream, instead of a table's.")] = None,
    kinesis_stream_arn: Annotated[
        str | None, typer.Option(help="A Kinesis data stream that tables are joined to: the mappings decide which.")
    ] = None,
    status_file: Annotated[Path | None, typer.Option(help="Append a JSON line here for each batch.")] = None,
) -> None:
    """Consume tables' changes until SIGTERM or Ctrl-C; a second one ends at once."""
    from consumers.kcl.service import Following, serve
    from consumers.kcl.status_file import StatusFile

    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    following = Following.of(settings, table or (), stream_arn, kinesis_stream_arn)
    serve(settings, following, StatusFile(status_file))


@app.command("settings", epilog="Example: cdc settings --json")
def print_settings(as_json: Json = False) -> None:
    """Print every setting: its variable, default and meaning."""
    settings = describe()
    if as_json:
        print(json.dumps(settings, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("variable", "default", "meaning")
    for setting in settings:
        table.add_row(setting["name"], setting["default"], setting["meaning"])
    Console().print(table)


@archive_app.command("cat", epilog="Example: cdc archive cat --table shop | head -1")
def cat_archive(table: Annotated[str | None, typer.Option(help="Only this table's changes.")] = None) -> None:
    """Print each archived change once, a line of JSON each, by stream and sequence number."""
    for archived in _archived(table):
        sys.stdout.buffer.write(archived.line + b"\n")
    sys.stdout.flush()


@archive_app.command("count", epilog="Example: cdc archive count --table shop --json")
def count_archive(
    table: Annotated[str | None, typer.Option(help="Only this table's changes.")] = None, as_json: Json = False
) -> None:
    """Count the archived changes, each once."""
    count = sum(1 for _ in _archived(table))
    print(json.dumps({"changes": count}) if as_json else count)


def _archived(table: str | None) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    from cdc.archive import read_archive
    from consumers.clients import aws_client

    settings = load_settings(os.environ)
    if settings.archive_bucket is None:
        raise ConfigError("there is no archive", remedy="Set CDC_ARCHIVE_BUCKET.")
    try:
        client = aws_client("s3", settings.archive_role_arn)
        yield from read_archive(client, settings.archive_bucket, settings.archive_prefix, table)
    except (BotoCoreError, ClientError) as error:
        raise ConfigError(
            f"the archive s3://{settings.archive_bucket}/{settings.archive_prefix} can't be read: {error}",
            remedy="Check CDC_ARCHIVE_BUCKET and AWS_REGION, and allow s3:ListBucket and s3:GetObject.",
        ) from error


if __name__ == "__main__":
    main()
