"""`cdc …`: the consumer, and what people ask of mappings, archive and settings."""

from __future__ import annotations

import os
import platform
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from cdc._version import __version__
from cdc.core import load_core
from cdc.errors import CdcError
from consumers.cli.archive import archive_app
from consumers.cli.aside import show_aside
from consumers.cli.audit import audit_table
from consumers.cli.backfill import backfill_app
from consumers.cli.dead_letters import dead_letters_app
from consumers.cli.handover import hand_over
from consumers.cli.inferring import infer_mapping_file
from consumers.cli.leases import leases_app
from consumers.cli.mapping_diff import diff_mappings
from consumers.cli.mappings import mappings_app
from consumers.cli.notices import configure_notices
from consumers.cli.rebuild import rebuild_app
from consumers.cli.searches import searches_app
from consumers.cli.settings import print_settings
from consumers.cli.tombstones import tombstones_app
from consumers.cli.verify import verify_table
from consumers.exit_codes import FAILED, exit_code_of
from consumers.logs import configure_logging
from consumers.settings import load_settings

__all__ = ["main"]

app = typer.Typer(help="Keep OpenSearch and S3 equal to DynamoDB tables.", pretty_exceptions_enable=False)
mappings_app.command("aside", epilog="Example: cdc mappings aside --index orders")(show_aside)
mappings_app.command("diff", epilog="Example: cdc mappings diff --table shop --index orders")(diff_mappings)
mappings_app.command("infer", epilog="Example: cdc mappings infer --table shop --out mappings/shop.yml")(
    infer_mapping_file
)
app.add_typer(mappings_app, name="mappings")
app.command("handover", epilog="Example: cdc handover --table shop --to lambda")(hand_over)
app.add_typer(backfill_app, name="backfill")
app.add_typer(rebuild_app, name="rebuild")
app.add_typer(archive_app, name="archive")
app.add_typer(tombstones_app, name="tombstones")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(leases_app, name="leases")
app.add_typer(searches_app, name="searches")


def main() -> None:
    """Run the command of the arguments. Exit code 2: the configuration is wrong; 1: anything else failed."""
    if region := os.environ.get("AWS_REGION"):  # which ECS sets, and which boto3 alone does not read
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    try:
        app(prog_name="cdc", standalone_mode=True)
    except CdcError as error:
        print(f"error: {error}", file=sys.stderr)
        code = exit_code_of(error)
        _end_beside_java(code)
        sys.exit(code)
    except SystemExit as end:
        _end_beside_java(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
        raise
    except Exception:  # noqa: BLE001  (it ends the process by its code, as the others do)
        traceback.print_exc()
        _end_beside_java(FAILED)
        sys.exit(FAILED)


def _end_beside_java(code: int) -> None:
    """End the process at once if a JVM runs in it: everything is flushed and closed by now, and a thread of Java's that
    calls Python while that ends would abort the process."""
    if "consumers.kcl.java.jvm" in sys.modules:
        from consumers.kcl.java.jvm import end_process

        end_process(code)


def _print_version(wanted: bool) -> None:
    if wanted:
        core = "no compiled core" if load_core() is None else "compiled core"
        print(f"dynamodb-cdc {__version__}, {core}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _cdc(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version, whether it has the core, and Python's.",
        ),
    ] = False,
) -> None:
    """Show the help where no command is named."""
    configure_notices()
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog="Example: cdc run --table shop --table orders")
def run(
    table: Annotated[
        list[str] | None, typer.Option(help="A table: every stream of it is read, old and new. May be repeated.")
    ] = None,
    stream_arn: Annotated[str | None, typer.Option(help="One stream, instead of a table's.")] = None,
    kinesis_stream_arn: Annotated[
        str | None, typer.Option(help="A Kinesis data stream that tables are joined to: the mappings decide which.")
    ] = None,
    functions: Annotated[
        str | None, typer.Option(help="A module whose on_insert, on_modify and on_remove are called for each change.")
    ] = None,
    sink: Annotated[str | None, typer.Option(help="A sink of your own, as module:name.")] = None,
    status_file: Annotated[Path | None, typer.Option(help="Append a JSON line here for each batch.")] = None,
) -> None:
    """Consume tables' changes until SIGTERM or Ctrl-C; a second one ends at once.

    Exit codes: 0 stopped in order; 1 failed, start it again; 2 the set-up is wrong; 3 Java's heap is full.
    """
    from consumers.kcl.service import Following, serve
    from consumers.kcl.status_file import StatusFile
    from consumers.own_sinks import load_own

    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    following = Following.of(settings, table or (), stream_arn, kinesis_stream_arn)
    own, close = load_own(functions, sink)
    try:
        serve(settings, following, StatusFile(status_file), own)
    finally:
        close()


app.command("verify", epilog="Example: cdc verify --table shop --html report.html")(verify_table)
app.command("audit", epilog="Example: cdc audit --table shop --items 1000 --repair")(audit_table)
app.command("settings", epilog="Example: cdc settings --json")(print_settings)

if __name__ == "__main__":
    main()
