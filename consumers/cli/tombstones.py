"""`cdc tombstones …`: removing tombstones that no stream can need any more."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cdc.duration import parse_seconds
from cdc.errors import ConfigError
from consumers.cli.groups import command_group
from consumers.settings import Settings, load_settings

__all__ = ["tombstones_app"]

tombstones_app = command_group("Remove tombstones that no stream can need any more.")


@tombstones_app.command("purge", epilog="Example: cdc tombstones purge --older-than 25h")
def purge_tombstones(
    indices: Annotated[
        list[str] | None, typer.Argument(help="Aliases or indices; default: all that the mappings give tombstones.")
    ] = None,
    older_than: Annotated[str, typer.Option(help="Only tombstones older than this: 25h, 2d.")] = "25h",
    retention: Annotated[
        str | None, typer.Option(help="How long the Kinesis data stream keeps its records, if there is one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also younger than a stream remembers.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Remove old tombstones, each only if its document was not made anew meanwhile."""
    from rich.console import Console

    from cdc.sinks.opensearch.client import opensearch_client
    from cdc.sinks.opensearch.purge import purge
    from consumers.clients import opensearch_options

    settings = load_settings(os.environ)
    age = timedelta(seconds=parse_seconds(older_than))
    client = opensearch_client(opensearch_options(settings))
    removed: dict[str, int] = {}
    with Console(stderr=True).status("looking for tombstones …") as status:
        for index in indices or _tombstoned(settings):
            removed[index] = purge(
                client,
                index,
                age,
                datetime.now(UTC),
                force=force,
                retention=timedelta(seconds=parse_seconds(retention)) if retention else None,
                progress=lambda count, index=index: status.update(f"{index}: {count} tombstones removed"),  # type: ignore[misc]
            )
    if as_json:
        print(json.dumps(removed))
    else:
        for index, count in removed.items():
            print(f"{index}: {count} tombstones removed")


def _tombstoned(settings: Settings) -> list[str]:
    from cdc.mappings.model import TABLE
    from consumers.runtime import load_mappings

    mappings = load_mappings(settings)
    indices = sorted(
        {
            document.index.replace(TABLE, "*")
            for file in mappings.files
            for document in file.documents
            if "tombstone" in (document.on_remove, document.on_expiry)
        }
    )
    if not indices:
        raise ConfigError("no mapping gives tombstones", remedy="Name the index: cdc tombstones purge orders.")
    return indices
