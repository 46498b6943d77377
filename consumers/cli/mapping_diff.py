"""`cdc mappings diff`: what a changed mapping file would change in its index, shown on real items."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.duration import parse_seconds
from cdc.errors import ConfigError
from consumers.exit_codes import DIFFERENCES, ORDERLY
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.mappings.model import Mappings

__all__ = ["diff_mappings", "ended_in_order"]


def diff_mappings(
    table: Annotated[
        str | None, typer.Option(help="A table; default: every one that a mapping file names.", show_default=False)
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="An index of the mapping; default: all of them.", show_default=False)
    ] = None,
    sample: Annotated[int, typer.Option(min=1, max=100_000, help="Look at so many random items.")] = 1000,
    seed: Annotated[
        int | None, typer.Option(help="Draw the same items again.", show_default="another sample each time")
    ] = None,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    settle: Annotated[
        str, typer.Option(help="What may differ only for a moment is looked at again so much later.")
    ] = "5s",
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Show some ids: they are made of items' keys.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page for people here.")] = None,
) -> None:
    """Show what the mapping files of now would change in their indices: fields of another type, documents that appear
    or vanish, ids, routing, and what OpenSearch would refuse.

    Documents of random items are written to a hidden index <index>-diff-…, which is deleted at the end. The table and
    the index of now are only read.

    Exit codes: 0 nothing would change; 1 something would, or it failed; 2 the set-up is wrong.
    """
    from rich.console import Console

    from cdc.rebuilds.diffing import diff_mapping
    from cdc.records.stream import Stream
    from consumers.cli.pages import check_place, write_page
    from consumers.loading import deployment_of
    from consumers.runtime import open_runtime

    check_place(html)
    settings = load_settings(os.environ)
    arn = settings.kinesis_stream_arn
    runtime = open_runtime(settings)
    found = []
    try:
        deployment, client = deployment_of(runtime), runtime.clients.opensearch
        if client is None:
            raise ConfigError("there is no OpenSearch", remedy="Set CDC_OPENSEARCH_ENDPOINT.")
        wanted = _wanted(runtime.mappings, table, index)
        with ended_in_order(), Console(stderr=True, highlight=False).status("drawing items …") as status:
            for name, one in wanted:
                found.append(
                    diff_mapping(
                        deployment,
                        client,
                        runtime.mappings.of(name),
                        name,
                        one,
                        stream=Stream.kinesis(arn, name) if arn else None,
                        sample=sample,
                        seed=seed,
                        settle_seconds=parse_seconds(settle),
                        max_read_units=max_read_units,
                        with_ids=show_ids,
                        observe=lambda items, one=one: status.update(f"{one}: {items:,} of {sample:,} items compared"),  # type: ignore[misc]
                    )
                )
    finally:
        runtime.close()
    if html is not None:
        from cdc.rebuilds.mapping_diff_html import html_of_diffs

        write_page(html, html_of_diffs(found))
    if as_json:
        print(json.dumps([diff.to_builtins() for diff in found], indent=2))
    else:
        from consumers.cli.mapping_diff_screen import print_diff

        for diff in found:
            print_diff(diff, Console(highlight=False))
    raise typer.Exit(DIFFERENCES if any(diff.changes for diff in found) else ORDERLY)


def _wanted(mappings: Mappings, table: str | None, index: str | None) -> Sequence[tuple[str, str]]:
    """The tables and indices that are asked for.

    Raises:
        ConfigError: there are none.
    """
    from cdc.rebuilds.diffing import indices_of

    tables = [table] if table else [file.table for file in mappings.files if file.documents and not file.is_glob]
    pairs = [(name, one) for name in tables for one in indices_of(mappings.of(name), name)]
    chosen = [(name, one) for name, one in pairs if index in (None, one)]
    if not chosen:
        known = ", ".join(dict.fromkeys(one for _, one in pairs)) or "none"
        raise ConfigError(
            f"no mapping of {table or 'a table that is named'} writes to {index or 'an index'} (there are: {known})",
            remedy="Name the table (--table) and an index of its mapping (--index).",
        )
    return chosen


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, so that the hidden index is deleted."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
