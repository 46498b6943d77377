"""`cdc rebuild …`: an index built anew by a changed mapping, while it is searched and written to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cdc.errors import ConfigError
from consumers.cli.backfill import stopped_in_order
from consumers.exit_codes import DIFFERENCES
from consumers.settings import load_settings

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.rebuilds.facts import FillSource
    from cdc.rebuilds.rebuild import Rebuild
    from cdc.rebuilds.standing import RebuildStanding
    from cdc.sinks.opensearch.memory import RebuildNote

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
    source: Annotated[
        Literal["table", "export", "archive"], typer.Option("--from", help="Where the documents come from.")
    ] = "table",
    export: Annotated[
        str | None, typer.Option(help="A finished export to fill it from, such as s3://bucket/AWSDynamoDB/0123-abc.")
    ] = None,
    export_now: Annotated[
        str | None, typer.Option(help="Ask for an export to this place (s3://bucket/prefix), and fill it from that.")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Print the plan and its price, and end.")] = False,
    keep: Annotated[
        str, typer.Option(help="How long the old index is to stand by, such as 24h; 0: it is deleted at once.")
    ] = "24h",
    queries: Annotated[
        Path | None, typer.Option(help="A file of searches; both indices are compared by them before the swap.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write what the searches find as a page here.")] = None,
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Show hits' ids: they are made of items' keys.")] = False,
    accept_differences: Annotated[
        bool, typer.Option("--accept-differences", help="Go on though searches find something else.")
    ] = False,
    accept: Annotated[
        int, typer.Option(min=0, help="Go on though so many documents are refused by the new index.")
    ] = 0,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Parts of the table that are read at once.")] = 4,
    as_json: Json = False,
) -> None:
    """Make <index>-v2 by the mapping files of now, fill it while consumers write to both, verify it, and let searches
    see it by one request. The old one stands by, and gets every change, until `cdc rebuild finish`.

    It may be killed at any moment: the same command goes on. Consumers need no restart. Exit codes: 0 searches see the
    new index; 1 failed, run it again, or recorded searches differ; 2 the set-up is wrong, or the new index is not
    proven; 130 stopped.
    """
    from consumers.cli.pages import check_place

    if context.invoked_subcommand is not None:
        return
    if index is None:
        typer.echo(context.get_help())
        return
    check_place(html)
    filled_from = _source(source, export, export_now)
    options = {"source": filled_from, "accept": accept, "keep_seconds": _seconds(keep)}
    with _opened(as_json, max_read_units, workers, options) as (rebuild, screen):
        for plan in rebuild.plans(index) if plan_only or rebuild.standing(index).note is None else ():
            screen.plan(plan)
        if plan_only:
            return
        compare = _comparison(rebuild.client, queries, html, as_json, show_ids, accept_differences)
        _run(replace(rebuild, before_swap=compare), index, as_json=as_json)


def _source(kind: str, export: str | None, export_now: str | None) -> FillSource:
    from cdc.rebuilds.facts import FillSource, SourceKind

    if export and export_now:
        raise ConfigError("--export and --export-now exclude each other", remedy="Name one of them.")
    if kind == "archive" and (export or export_now):
        raise ConfigError("--from archive and an export exclude each other", remedy="Name one of them.")
    if kind == "export" and not (export or export_now):
        raise ConfigError(
            "--from export needs the export",
            remedy="Name it (--export), or ask for one: --export-now s3://bucket/prefix.",
        )
    return FillSource(SourceKind.EXPORT if export or export_now else SourceKind(kind), export, export_now)


def _seconds(keep: str) -> float:
    from cdc.duration import parse_seconds

    return 0.0 if keep == "0" else parse_seconds(keep)


def _comparison(
    client: OpenSearch, queries: Path | None, html: Path | None, as_json: bool, show_ids: bool, accept_differences: bool
) -> Callable[[RebuildNote], None]:
    """Compares both indices by recorded searches before the swap; what differs ends the command there."""
    from cdc.rebuilds.queries import compare_searches
    from cdc.rebuilds.recorded import read_searches
    from consumers.cli.searches_screen import tell_searches

    recorded = () if queries is None else read_searches(queries)

    def compare(note: RebuildNote) -> None:
        if not recorded:
            return
        found = compare_searches(client, recorded, note.old, note.new)
        tell_searches(found, note.old, note.new, html, as_json=as_json, with_ids=show_ids, in_lines=True)
        if any(one.differs for one in found) and not accept_differences:
            print(
                f"searches still see {note.old}; look at what differs, then go on: "
                "the same command with --accept-differences",
                file=sys.stderr,
            )
            raise typer.Exit(DIFFERENCES)

    return compare


def _run(rebuild: Rebuild, index: str, *, as_json: bool) -> None:
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
    if not rebuild.keep_seconds:
        print(f"{result.note.old} is deleted")
        return
    print(f"{result.note.old} stands by and gets every change. Go back: cdc rebuild rollback --index {index}")
    print(f"Delete it: cdc rebuild finish --index {index}")


@rebuild_app.command("status", epilog="Example: cdc rebuild status --index orders --json")
def show_rebuild(index: Index, as_json: Json = False) -> None:
    """Show how the rebuild of an index stands, and the next commands."""
    with _opened(as_json) as (rebuild, _):
        standing = rebuild.standing(index)
        until = rebuild.kept_until(standing)
        if as_json:
            print(json.dumps(_facts(standing, until)))
            return
        for line in _told(standing, until):
            print(line)


def _facts(standing: RebuildStanding, until: float | None) -> dict[str, Any]:
    note = standing.note
    return {
        "index": standing.index,
        "searched": standing.searched.index,
        "members": list(standing.searched.members),
        "rebuild": None if note is None else {"job": note.job, "old": note.old, "new": note.new},
        "swapped": standing.is_swapped,
        "keep_until": None if until is None else _moment(until),
    }


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _told(standing: RebuildStanding, until: float | None) -> Iterator[str]:
    note, index = standing.note, standing.index
    yield f"{index}: searches see {standing.searched.index}"
    if note is None:
        yield "It is not being rebuilt."
    elif standing.is_swapped:
        kept = "" if until is None else f"; it was to be kept until {_moment(until)}"
        yield f"{note.old} stands by and gets every change{kept}."
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
    max_read_units: float | None = None,
    workers: int = 4,
    how: Mapping[str, Any] | None = None,
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
                    observe=observe,
                    **(how or {}),
                ),
                screen,
            )
    finally:
        runtime.close()
