"""`cdc verify`: does the index equal its table? And mend it, where it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.duration import parse_seconds
from cdc.errors import ConfigError
from cdc.verification.findings import Findings
from consumers.cli.pages import check_place, write_page
from consumers.exit_codes import DIFFERENCES, LEFT_OVER, ORDERLY
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.loads.deployment import Deployment

__all__ = ["Wanted", "verified", "verify_table"]


@dataclass(frozen=True)
class Wanted:
    """The verification that is asked for."""

    table: str
    with_content: bool = True
    sample: int | None = None
    repair: bool = False
    max_repairs: int = 1000
    """With more differences nothing is mended."""
    dry_run: bool = False
    max_read_units: float | None = None
    workers: int = 4
    settle_seconds: float = 5.0
    as_json: bool = False
    html: Path | None = None
    kinesis_stream_arn: str | None = None


def verify_table(
    table: Annotated[str, typer.Option(help="The table.")],
    content: Annotated[
        bool,
        typer.Option(
            "--content/--ids", help="Compare contents, or ids and versions only: that reads less of the index."
        ),
    ] = True,
    sample: Annotated[
        int | None, typer.Option(min=1, help="Look at so many random items and documents instead of all.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what differs, at versions that are there already.")
    ] = False,
    max_repairs: Annotated[
        int | None, typer.Option("--max", min=1, help="With more differences mend nothing.", show_default="1000")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what a repair could not mend; write nothing.")
    ] = False,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Parts that are read at once.")] = 4,
    settle: Annotated[
        str, typer.Option(help="What differs is looked at again so much later: longer than the consumer lags.")
    ] = "5s",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page for people here. It quotes items.")] = None,
) -> None:
    """Compare a table with its index, item by item, while both are in use; say what differs, and mend it.

    Exit codes: 0 equal, or all mended; 1 differences, or it failed; 2 the set-up is wrong, or there are more
    differences than --max; 3 differences that a repair left over.
    """
    if not repair and (max_repairs is not None or dry_run):
        raise ConfigError(
            f"{'--dry-run' if dry_run else '--max'} is of a repair, and none is asked for", remedy="Add --repair."
        )
    from cdc.verification.verify import verify
    from consumers.loading import deployment_of
    from consumers.runtime import open_runtime

    settings = load_settings(os.environ)
    wanted = Wanted(
        table=table,
        with_content=content,
        sample=sample,
        repair=repair,
        max_repairs=1000 if max_repairs is None else max_repairs,
        dry_run=dry_run,
        max_read_units=max_read_units,
        workers=workers,
        settle_seconds=parse_seconds(settle),
        as_json=as_json,
        html=html,
        kinesis_stream_arn=settings.kinesis_stream_arn,
    )
    runtime = open_runtime(settings)
    try:
        raise typer.Exit(verified(deployment_of(runtime), wanted, verify))
    finally:
        runtime.close()


def verified(deployment: Deployment, wanted: Wanted, verify: Callable[..., Findings]) -> int:
    """Tell the price, verify, show the findings on standard output; the exit code.

    Args:
        verify: `cdc.verification.verify.verify`, or what stands for it.

    Raises:
        ConfigError: the page can't be written, or the verification refuses.
        SinkUnavailable: table or index are out of reach.
    """
    from cdc.records.stream import Stream
    from cdc.verification.verify import RepairRefused
    from consumers.cli.verify_screen import VerifyScreen

    check_place(wanted.html)
    screen = VerifyScreen()
    screen.price(deployment.pages.describe(wanted.table), wanted.sample)
    arn = wanted.kinesis_stream_arn
    try:
        with screen:
            findings = verify(
                deployment,
                wanted.table,
                stream=Stream.kinesis(arn, wanted.table) if arn else None,
                with_content=wanted.with_content,
                sample=wanted.sample,
                workers=wanted.workers,
                max_read_units=wanted.max_read_units,
                settle_seconds=wanted.settle_seconds,
                repair=wanted.repair,
                dry_run=wanted.dry_run,
                max_repairs=wanted.max_repairs,
                observe=screen.observe,
            )
    except RepairRefused as error:
        _show(error.findings, wanted)
        raise
    _show(findings, wanted)
    return _code(findings, wanted)


def _code(findings: Findings, wanted: Wanted) -> int:
    if wanted.repair and not wanted.dry_run:
        return LEFT_OVER if findings.left else ORDERLY
    return DIFFERENCES if findings.differences else ORDERLY


def _show(findings: Findings, wanted: Wanted) -> None:
    if wanted.html is not None:
        from cdc.verification.html import html_of

        write_page(wanted.html, html_of(findings))
    if wanted.as_json:
        print(findings.to_json().decode())
        return
    from rich.console import Console

    from consumers.cli.findings import print_findings

    print_findings(findings, Console(highlight=False))
    if wanted.html is not None:
        print(f"the whole report: {wanted.html}")
