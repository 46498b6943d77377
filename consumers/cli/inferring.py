"""`cdc mappings infer`: a mapping file from a sample of a table."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from cdc.errors import ConfigError
from consumers.settings import load_settings

__all__ = ["infer_mapping_file"]


def infer_mapping_file(
    table: Annotated[str, typer.Option(help="The table.")],
    sample: Annotated[int, typer.Option(min=1, max=100_000, help="Read so many random items.")] = 1000,
    out: Annotated[
        Path | None, typer.Option(help="Write the file here; default: print it.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Draw the same items again.", show_default="another sample each time")
    ] = None,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines; `text` is the file.")] = False,
) -> None:
    """Write a mapping file from random items: kinds of items by how their keys begin, a field type for each path, and
    the evidence as comments. It holds no value of an item but the beginnings of keys. Only the table is read.
    """
    import msgspec
    from rich.console import Console

    from cdc.inference.infer import infer_mapping
    from cdc.loads.price import dollars_of_read_units
    from cdc.loads.table import DynamoDBPages
    from consumers.clients import item_client

    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out} is there already", remedy="Name another file (--out), or replace it: --force.")
    settings = load_settings(os.environ)
    console = Console(stderr=True, highlight=False)
    with console.status("reading items …") as status:
        found = infer_mapping(
            DynamoDBPages(item_client(settings.aws_timeout_seconds)),
            table,
            sample=sample,
            seed=seed,
            max_read_units=max_read_units,
            observe=lambda items: status.update(f"{items:,} of {sample:,} items read"),
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.text, encoding="utf-8")
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), ensure_ascii=False))
        return
    if out is None:
        print(found.text, end="")
    for kind in found.kinds:
        told = f"{kind.index}: {kind.items:,} items, {kind.paths:,} paths; {kind.described}"
        console.print(told, markup=False, soft_wrap=True)
    price = f"{found.read_units:,.1f} read units, ${dollars_of_read_units(found.read_units):,.4f}"
    console.print(f"{found.sample:,} items read, {price}", markup=False)
    if out is not None:
        console.print(f"{out} is written; now: cdc mappings check {out}", markup=False, soft_wrap=True)
