"""`cdc mappings …`: check mapping files, try them on items, and what a Lambda's stream may be filtered by."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cdc.errors import ConfigError
from consumers.cli.groups import command_group

__all__ = ["mappings_app"]

mappings_app = command_group("Check mapping files, and try them on items.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Keys = Annotated[str, typer.Option(help="The table's key attributes.")]


@mappings_app.command("check", epilog="Example: cdc mappings check mappings/shop.yml")
def check_mappings(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders; default: CDC_MAPPINGS, else mappings", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Name every fault of mapping files, with file, line and field. Exit code 2 if there is one.

    A warning is what OpenSearch would probably refuse in a body: only OpenSearch knows its plugins.
    """
    from cdc.mappings.preview import findings_of

    found = findings_of(files or _default_places())
    if as_json:
        print(json.dumps({"files": found.files, "problems": found.problems, "warnings": found.warnings}, indent=2))
    else:
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        for problem in found.problems:
            print(problem, file=sys.stderr)
        if not found.problems:
            print(f"{found.files} mapping file{'s' if found.files != 1 else ''}: no problem")
    if found.problems:
        raise typer.Exit(2)


def _default_places() -> list[Path]:
    from cdc.mappings.locations import places

    named = places(os.environ.get("CDC_MAPPINGS") or "mappings")
    if any(place.startswith("s3://") for place in named):
        raise ConfigError(
            "CDC_MAPPINGS names files in S3, and this command checks files here",
            remedy="Name the files: cdc mappings check FILE; `aws s3 cp` fetches them.",
        )
    missing = [place for place in named if not Path(place).exists()]
    if missing:
        raise ConfigError(
            f"there is no file or folder {missing[0]!r} here",
            remedy="Name the mapping files: cdc mappings check FILE; or set CDC_MAPPINGS to where they are.",
        )
    return [Path(place) for place in named]


@mappings_app.command("try", epilog="Example: cdc mappings try mappings/shop.yml --item item.json --keys pk,sk")
def try_mapping(
    file: Annotated[Path, typer.Argument(help="A mapping file.")],
    item: Annotated[
        Path,
        typer.Option(help="A file with an item: what `aws dynamodb get-item` prints, DynamoDB JSON, or plain JSON."),
    ],
    keys: Keys = "pk,sk",
    as_json: Json = False,
) -> None:
    """Show which documents an item becomes, with their ids."""
    from cdc.mappings.preview import documents_of_item

    documents = documents_of_item(file, item, _names(keys))
    if as_json:
        print(json.dumps(documents, indent=2, ensure_ascii=False))
        return
    if not documents:
        print("no document takes this item")
    for document in documents:
        print(
            f"{document['index']}  _id={document['id']}"
            + (f"  routing={document['routing']}" if document["routing"] else "")
        )
        print(document["source"])
        for name in document["set_aside"]:
            print(f"set aside: {name!r}, since OpenSearch takes no such name; fields: rename gives it another")


@mappings_app.command(
    "filters", epilog="Example: cdc mappings filters mappings/shop.yml --no-archive --parameters > filters.json"
)
def print_filters(
    files: Annotated[list[Path], typer.Argument(help="The mapping file of the table; with --kinesis, of every table.")],
    keys: Keys = "pk,sk",
    kinesis: Annotated[bool, typer.Option("--kinesis", help="The stream is a Kinesis data stream.")] = False,
    no_archive: Annotated[
        bool, typer.Option("--no-archive", help="There is no archive: CDC_ARCHIVE_BUCKET is not set.")
    ] = False,
    functions: Annotated[
        bool, typer.Option("--functions", help="Functions of yours (handler_for) want every change.")
    ] = False,
    parameters_only: Annotated[
        bool, typer.Option("--parameters", help="Print the parameters of deploy/lambda/template.yaml instead.")
    ] = False,
) -> None:
    """Print the FilterCriteria of a Lambda's event source mapping: what it lets through is all that the mappings make
    something of, and often more. If that is every record, there are none, and the reason is said."""
    from cdc.mappings.files import load_mappings
    from consumers.aws_lambda.event_filters import MAX_FILTERS, Filters, filters_of_kinesis, filters_of_stream

    mappings = load_mappings(files).files
    if functions:
        found = Filters(reason="the functions want every change")
    elif kinesis:
        found = filters_of_kinesis(mappings, _names(keys), archive=not no_archive)
    elif len(mappings) == 1:
        found = filters_of_stream(mappings[0], _names(keys), archive=not no_archive)
    else:
        raise ConfigError(
            f"a DynamoDB stream is of one table, and these are the mappings of {len(mappings)}",
            remedy="Name the file of its table; or say --kinesis.",
        )
    texts = found.texts() + [""] * MAX_FILTERS
    parameters = {f"FilterPattern{number}": texts[number - 1] for number in range(1, MAX_FILTERS + 1)}
    print(json.dumps(parameters if parameters_only else found.criteria(), indent=2))
    if found.reason:
        print(f"no filters: {found.reason}", file=sys.stderr)


def _names(keys: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in keys.split(","))
