"""`cdc rebuild …`: an index built anew by a changed mapping, while it is searched and written to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc.errors import ConfigError
from consumers.cli.backfill import stopped_in_order
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.rebuilds.rebuild import Rebuild
    from cdc.rebuilds.standing import RebuildStanding

__all__ = ["rebuild_app"]

rebuild_app = typer.Typer(
    help="Build an index anew by a changed mapping, while it is searched and written to.",
    add_completion=False,
    epilog="Example: cdc rebuild --index orders --max-read-units 100",
)

Index = Annotated[str, typer.Option(help="The alias that people search, as the mapping names it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines, for machines.")]


@rebuild_app.callback(invoke_without_command=True)
def run_rebuild(
    context: typer.Context,
    index: Annotated[str | None, typer.Option(help="The alias that people search, as the mapping names it.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Print the plan and its price, and end.")] = False,
    accept: Annotated[
        int, typer.Option(min=0, help="Go on though so many documents are refused by the new index.")
    ] = 0,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Parts of the table that are read at once.")] = 4,
    as_json: Json = False,
) -> None:
    """Make <index>-v2 by the mapping files of now, fill it from the table while consumers write to both, verify it, and
    let searches see it by one request. The old one stands by, and gets every change, until `cdc rebuild finish`.

    It may be killed at any moment: the same command goes on. Consumers need no restart. Exit codes: 0 searches see the
    new index; 1 failed, run it again; 2 the set-up is wrong, or the new index is not proven; 130 stopped.
    """
    if context.invoked_subcommand is not None:
        return
    if index is None:
        typer.echo(context.get_help())
        return
    with _opened(as_json, accept, max_read_units, workers) as (rebuild, screen):
        for plan in rebuild.plans(index) if plan_only or rebuild.standing(index).note is None else ():
            screen.plan(plan)
        if plan_only:
            return
        _run(rebuild, screen, index, as_json=as_json)


def _run(rebuild: Rebuild, screen: Any, index: str, *, as_json: bool) -> None:
    from cdc.loads.unit import LoadStopped
    from consumers.gc_tuning import collect_seldom

    collect_seldom()  # else parsing a page takes twice as long
    with stopped_in_order(rebuild.stop.set):
        try:
            result = rebuild.run(index)
        except LoadStopped:
            print(f"stopped; cdc rebuild --index {index} goes on with it", file=sys.stderr)
            raise typer.Exit(130) from None
    verdicts = [findings.verdict for findings in result.findings]
    if as_json:
        names = {"index": index, "job": result.note.job, "old": result.note.old, "new": result.note.new}
        print(json.dumps({"result": {**names, "items": result.items, "verdicts": verdicts}}), flush=True)
        return
    print(f"{index}: searches see {result.note.new}, made of {result.items:,} items: {'; '.join(verdicts)}")
    print(f"{result.note.old} stands by and gets every change. Go back: cdc rebuild rollback --index {index}")
    print(f"Delete it: cdc rebuild finish --index {index}")


@rebuild_app.command("status", epilog="Example: cdc rebuild status --index orders --json")
def show_rebuild(index: Index, as_json: Json = False) -> None:
    """Show how the rebuild of an index stands, and the next commands."""
    with _opened(as_json) as (rebuild, _):
        standing = rebuild.standing(index)
        facts = _facts(standing)
        if as_json:
            print(json.dumps(facts))
            return
        for line in _told(standing):
            print(line)


def _facts(standing: RebuildStanding) -> dict[str, Any]:
    note = standing.note
    return {
        "index": standing.index,
        "searched": standing.searched.index,
        "members": list(standing.searched.members),
        "rebuild": None if note is None else {"job": note.job, "old": note.old, "new": note.new},
        "swapped": standing.is_swapped,
    }


def _told(standing: RebuildStanding) -> Iterator[str]:
    note, index = standing.note, standing.index
    yield f"{index}: searches see {standing.searched.index}"
    if note is None:
        yield "It is not being rebuilt."
    elif standing.is_swapped:
        yield f"{note.old} stands by and gets every change."
        yield f"Go back: cdc rebuild rollback --index {index}"
        yield f"Delete {note.old}: cdc rebuild finish --index {index}"
    else:
        yield f"{note.new} is built beside it, and searches do not see it."
        yield f"Go on: cdc rebuild --index {index}"
        yield f"Give it up: cdc rebuild abort --index {index}"


@rebuild_app.command("rollback", epilog="Example: cdc rebuild rollback --index orders")
def roll_back(index: Index, as_json: Json = False) -> None:
    """Let searches see the old index again. It got every change meanwhile: it is not a second stale."""
    with _opened(as_json) as (rebuild, _):
        note = rebuild.rollback(index)
    _say(as_json, "searched", note.old, f"{index}: searches see {note.old} again; {note.new} gets every change too")


@rebuild_app.command("finish", epilog="Example: cdc rebuild finish --index orders")
def finish_rebuild(index: Index, as_json: Json = False) -> None:
    """Delete the old index, once nobody writes to it any more (15 seconds)."""
    with _opened(as_json) as (rebuild, _):
        note = rebuild.finish(index)
    _say(as_json, "deleted", note.old, f"{index}: {note.old} is deleted; there is no way back")


@rebuild_app.command("abort", epilog="Example: cdc rebuild abort --index orders")
def abort_rebuild(index: Index, as_json: Json = False) -> None:
    """Give a rebuild up: delete the new index, once nobody writes to it any more (15 seconds)."""
    with _opened(as_json) as (rebuild, _):
        note = rebuild.abort(index)
    _say(as_json, "deleted", note.new, f"{index}: {note.new} is deleted; searches see {note.old} as before")


def _say(as_json: bool, name: str, concrete: str, text: str) -> None:
    print(json.dumps({name: concrete}) if as_json else text)


@contextmanager
def _opened(
    as_json: bool,
    accept: int = 0,
    max_read_units: float | None = None,
    workers: int = 4,
) -> Iterator[tuple[Rebuild, Any]]:
    from cdc.loads.planning import LoadOptions
    from cdc.rebuilds.facts import RebuildStep
    from cdc.rebuilds.rebuild import Rebuild
    from consumers.cli.backfill_screen import Screen
    from consumers.loading import deployment_of, jobs_of
    from consumers.runtime import open_runtime

    settings = load_settings(os.environ)
    runtime = open_runtime(settings)
    screen = Screen(as_json=as_json, max_read_units=max_read_units)

    def observe(fact: object) -> None:
        if isinstance(fact, RebuildStep):
            print(json.dumps({"step": fact.text}) if as_json else f"{fact.text} …", file=sys.stderr, flush=True)
        else:
            screen.observe(fact)

    try:
        deployment = deployment_of(runtime)
        client = runtime.clients.opensearch
        if client is None:
            raise ConfigError("there is no OpenSearch", remedy="Set CDC_OPENSEARCH_ENDPOINT.")
        options = LoadOptions(
            workers=workers, max_read_units=max_read_units, kinesis_stream_arn=settings.kinesis_stream_arn
        )
        with screen:
            yield (
                Rebuild(
                    deployment,
                    client,
                    runtime.mappings,
                    jobs_of(runtime).objects,
                    options,
                    accept=accept,
                    observe=observe,
                ),
                screen,
            )
    finally:
        runtime.close()
