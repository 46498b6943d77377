"""`cdc mappings aside`: the fields that an index refuses, and what would give each a home."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from consumers.settings import load_settings

__all__ = ["show_aside"]

_LONGEST = 60


def show_aside(
    index: Annotated[str, typer.Option(help="An index, or an alias.")],
    names: Annotated[int, typer.Option(help="How many names to show, most often set aside first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show which fields are set aside in an index since they do not fit, how often, and what would give them a home."""
    from cdc.sinks.opensearch.aside_report import report_aside
    from cdc.sinks.opensearch.client import opensearch_client
    from consumers.clients import opensearch_options

    report = report_aside(opensearch_client(opensearch_options(load_settings(os.environ))), index, names)
    if as_json:
        fields = [asdict(field) for field in report.fields]
        print(json.dumps({"index": index, "fields": fields, "more": report.more}, indent=2, ensure_ascii=False))
        return
    if not report.fields:
        print(f"nothing is set aside in {index}")
        return
    for field in report.fields:
        name = field.name if len(field.name) <= _LONGEST else f"{field.name[: _LONGEST - 1]}…"
        known = f", {field.indexed_as} in the index" if field.indexed_as else ", no field in the index"
        print(f"{name}: {field.documents} document{'s' if field.documents != 1 else ''}")
        print(f"  {field.value} in {field.example}{known}")
        print(f"  {field.home}")
    if report.more:
        print(f"and more names, set aside {report.more} times: --names {names * 2}")
    print("A home helps documents of a new index: the fields of one that is there stay as they are.")
