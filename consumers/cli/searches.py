"""`cdc searches …`: recorded searches, run on two indices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from consumers.cli.groups import command_group
from consumers.exit_codes import DIFFERENCES, ORDERLY
from consumers.settings import load_settings

__all__ = ["searches_app"]

searches_app = command_group("Run recorded searches on two indices, and compare what they find.")


@searches_app.command(
    "compare", epilog="Example: cdc searches compare --queries queries.ndjson --before orders-v1 --after orders-v2"
)
def compare_recorded(
    queries: Annotated[Path, typer.Option(help="A file of searches: one JSON object a line.")],
    before: Annotated[str, typer.Option(help="An index, or an alias.")],
    after: Annotated[str, typer.Option(help="The other one.")],
    size: Annotated[int, typer.Option(min=1, max=1000, help="So many hits of each search are compared.")] = 10,
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Show hits' ids: they are made of items' keys.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page for people here.")] = None,
) -> None:
    """Run searches on two indices; say which hits are gained, lost or moved, and which searches fail.

    A line of the file is a search body, that with a name ({"name": …, "query": {…}}), or a header of _msearch and then
    its body. Tombstones are left out, as the alias leaves them out. Hits of equal score may stand in any order.

    Exit codes: 0 all find the same; 1 some differ, or it failed; 2 the set-up is wrong.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from cdc.rebuilds.queries import compare_searches
    from cdc.rebuilds.recorded import read_searches
    from cdc.sinks.opensearch.client import opensearch_client
    from consumers.cli.pages import check_place
    from consumers.cli.searches_screen import tell_searches
    from consumers.clients import opensearch_options

    check_place(html)
    recorded = read_searches(queries)
    client = opensearch_client(opensearch_options(load_settings(os.environ)))
    from rich.console import Console

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("searches", total=len(recorded))
            found = compare_searches(
                client,
                recorded,
                before,
                after,
                size,
                observe=lambda count: progress.update(task, completed=count),
            )
    finally:
        client.close()
    tell_searches(found, before, after, html, as_json=as_json, with_ids=show_ids)
    raise typer.Exit(DIFFERENCES if any(one.differs for one in found) else ORDERLY)
