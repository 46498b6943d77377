"""`cdc backfill …`: an index made whole from its table, while the table is in use."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cdc.errors import ConfigError
from consumers.exit_codes import after_signal
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.loads.backfill import Backfill, BackfillResult
    from cdc.loads.plan import Plan

__all__ = ["backfill_app", "stopped_in_order"]

backfill_app = typer.Typer(
    help="Make an index whole from its table, while the table is in use.",
    add_completion=False,
    epilog="Example: cdc backfill --table shop --max-read-units 100",
)

Table = Annotated[str, typer.Option(help="The table.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, for machines.")]
Units = Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Parts of the table that are read at once.")]
Index = Annotated[str | None, typer.Option(help="Only this index of the mapping.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="Leave the verification at the end out.")]


@backfill_app.callback(invoke_without_command=True)
def begin_backfill(
    context: typer.Context,
    table: Annotated[str | None, typer.Option(help="The table. It needs a stream.")] = None,
    index: Index = None,
    export: Annotated[
        str | None, typer.Option(help="A finished export to load from, such as s3://bucket/AWSDynamoDB/0123-abc.")
    ] = None,
    export_now: Annotated[
        str | None, typer.Option(help="Ask for an export to this place (s3://bucket/prefix), and load from it.")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Print the plan and its price, and end.")] = False,
    runner: Annotated[
        Literal["threads", "step-functions"],
        typer.Option(help="Who does the units; step-functions: with --plan-only, its price."),
    ] = "threads",
    max_read_units: Units = None,
    workers: Workers = 4,
    no_verify: NoVerify = False,
    as_json: Json = False,
) -> None:
    """Load every item below the changes of the table's stream, remove ghosts, verify.

    It may be killed at any moment: `cdc backfill resume` goes on where it was. Exit codes: 0 all equal; 1 differences
    are left; 2 the set-up is wrong; 130 stopped.
    """
    if context.invoked_subcommand is not None:
        return
    if table is None:
        typer.echo(context.get_help())
        return
    if runner == "step-functions" and not plan_only:
        raise ConfigError(
            "a load on Step Functions is started there",
            remedy="Deploy deploy/backfill/template.yaml, then: aws stepfunctions start-execution --input "
            f'\'{{"table": "{table}"}}\'; --plan-only prints its price.',
        )
    with _opened(index, max_read_units, workers, as_json) as (backfill, screen):
        plan, units = _planned(backfill, table, export, export_now)
        screen.plan(plan)
        if runner == "step-functions":
            screen.runner(plan)
        if plan_only:
            return
        backfill.begin(plan, units)
        _run(backfill, screen, table, plan.job, verify=not no_verify)


def _planned(backfill: Backfill, table: str, export: str | None, export_now: str | None) -> tuple[Plan, Any]:
    if export and export_now:
        raise ConfigError("--export and --export-now exclude each other", remedy="Name one of them.")
    if export_now:
        export = backfill.planner.exported(table, export_now)
    return backfill.planner.of_export(table, export) if export else backfill.planner.of_table(table)


@backfill_app.command("resume", epilog="Example: cdc backfill resume --table shop")
def resume_backfill(
    table: Table,
    job: Annotated[str | None, typer.Option(help="The load; default: the newest that is not finished.")] = None,
    max_read_units: Units = None,
    workers: Workers = 4,
    no_verify: NoVerify = False,
    as_json: Json = False,
) -> None:
    """Go on with a load that was stopped or killed."""
    with _opened(None, max_read_units, workers, as_json) as (backfill, screen):
        name = job or backfill.jobs.unfinished(table)
        if name is None:
            raise ConfigError(
                f"no load of {table} is unfinished", remedy=f"`cdc backfill --table {table}` begins a new one."
            )
        screen.plan(backfill.jobs.plan(table, name)[0])
        _run(backfill, screen, table, name, verify=not no_verify)


@backfill_app.command("status", epilog="Example: cdc backfill status --table shop --json")
def show_backfills(table: Table, as_json: Json = False) -> None:
    """List the loads of a table: how far each is, and its verdict."""
    from consumers.cli.backfill_screen import print_status

    with _opened(None, None, 1, as_json) as (backfill, _):
        print_status(backfill, table, as_json=as_json)


@backfill_app.command("abort", epilog="Example: cdc backfill abort --table shop")
def abort_backfill(
    table: Table,
    job: Annotated[str | None, typer.Option(help="The load; default: the newest that is not finished.")] = None,
    as_json: Json = False,
) -> None:
    """Give an unfinished load up. What it has written stays, and is right: it ranks below every change."""
    with _opened(None, None, 1, as_json) as (backfill, _):
        name = job or backfill.jobs.unfinished(table)
        if name is None:
            raise ConfigError(f"no load of {table} is unfinished", remedy=f"cdc backfill status --table {table}")
        backfill.jobs.did(backfill.jobs.plan(table, name)[0], "aborted")
        print(json.dumps({"aborted": name}) if as_json else f"the load {name} of {table} is aborted")


@contextmanager
def _opened(
    index: str | None, max_read_units: float | None, workers: int, as_json: bool
) -> Iterator[tuple[Backfill, Any]]:
    from cdc.loads.backfill import Backfill, LoadOptions
    from consumers.cli.backfill_screen import Screen
    from consumers.loading import deployment_of, jobs_of
    from consumers.runtime import open_runtime

    settings = load_settings(os.environ)
    runtime = open_runtime(settings)
    screen = Screen(as_json=as_json, max_read_units=max_read_units)
    options = LoadOptions(
        workers=workers,
        max_read_units=max_read_units,
        kinesis_stream_arn=settings.kinesis_stream_arn,
        index=index,
    )
    try:
        with screen:
            yield (
                Backfill(deployment_of(runtime), jobs_of(runtime), options, observe=screen.observe),
                screen,
            )
    finally:
        runtime.close()


def _run(backfill: Backfill, screen: Any, table: str, job: str, *, verify: bool) -> None:
    from cdc.loads.unit import LoadStopped
    from consumers.gc_tuning import collect_seldom

    collect_seldom()  # else parsing a page takes twice as long
    with stopped_in_order(backfill.stop.set):
        try:
            result: BackfillResult = backfill.run(table, job, verify=verify)
        except LoadStopped:
            screen.stopped(table)
            raise typer.Exit(130) from None
    screen.result(result)
    if result.findings is not None and result.findings.remaining:
        raise typer.Exit(1)


@contextmanager
def stopped_in_order(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or Ctrl-C stops the load behind the pages it is at; a second one ends the process at once."""

    def once(_number: int, _frame: object) -> None:
        stop()
        print("stopping behind the pages that are being written …", file=sys.stderr)
        for number in before:
            signal.signal(number, at_once)

    def at_once(number: int, _frame: object) -> None:
        from rich.console import Console

        Console(stderr=True).show_cursor()  # the bar hides it
        os._exit(after_signal(number))  # Python itself would wait for the load's threads

    before: dict[int, Any] = {number: signal.signal(number, once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
