"""`cdc audit`: how far has the index drifted from its table? A sample says it, with how sure it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cdc.duration import parse_seconds
from consumers.exit_codes import DIFFERENCES, LEFT_OVER, ORDERLY
from consumers.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from cdc.loads.deployment import Deployment
    from cdc.verification.audit import AuditFigure
    from cdc.verification.reading import VerificationProgress
    from consumers.cli.verify_screen import VerifyScreen

__all__ = ["WantedAudit", "audit_table", "audited"]

_AT_ONCE = 1000
"""Items of one look: what differs is held in memory, and waited for once a look."""


@dataclass(frozen=True)
class WantedAudit:
    """The audit that is asked for."""

    table: str
    items: int = 1000
    repair: bool = False
    max_read_units: float | None = None
    settle_seconds: float = 5.0
    as_json: bool = False
    kinesis_stream_arn: str | None = None


def audit_table(
    table: Annotated[str, typer.Option(help="The table.")],
    items: Annotated[
        int, typer.Option(min=1, help="So many random items, and as many random documents of each of its indices.")
    ] = 1000,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what differs, at versions that are there already.")
    ] = False,
    max_read_units: Annotated[float | None, typer.Option(min=1, help="Read units a second at most.")] = None,
    settle: Annotated[
        str, typer.Option(help="What differs is looked at again so much later: longer than the consumer lags.")
    ] = "5s",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Compare random items and documents of a table, while both are in use; say how many differ in a million.

    Exit codes: 0 no difference, or all mended; 1 differences, or it failed; 2 the set-up is wrong; 3 differences that
    a repair left over.
    """
    from consumers.loading import deployment_of
    from consumers.runtime import open_runtime

    settings = load_settings(os.environ)
    wanted = WantedAudit(
        table, items, repair, max_read_units, parse_seconds(settle), as_json, settings.kinesis_stream_arn
    )
    runtime = open_runtime(settings)
    try:
        raise typer.Exit(audited(deployment_of(runtime), wanted))
    finally:
        runtime.close()


def audited(deployment: Deployment, wanted: WantedAudit, screen: VerifyScreen | None = None) -> int:
    """Tell the price, audit, show the figure on standard output; the exit code.

    Raises:
        ConfigError: there is no such table or index, or one may not be read.
        SinkUnavailable: table or index are out of reach.
    """
    from cdc.records.stream import Stream
    from cdc.verification.audit import Audit
    from consumers.cli.verify_screen import VerifyScreen

    screen = screen or VerifyScreen()
    screen.price(deployment.pages.describe(wanted.table), wanted.items)
    arn = wanted.kinesis_stream_arn
    audit = Audit(
        deployment,
        wanted.table,
        Stream.kinesis(arn, wanted.table) if arn else None,
        repair=wanted.repair,
        max_read_units=wanted.max_read_units,
    )
    progress = _Progress(screen)
    with screen:
        for start in range(0, wanted.items, _AT_ONCE):
            size = min(_AT_ONCE, wanted.items - start)
            audit.look(size, settle_seconds=wanted.settle_seconds, progress=progress.observe)
            progress.next_look()
    _show(audit.figure, wanted)
    if wanted.repair:
        return LEFT_OVER if audit.figure.left else ORDERLY
    return DIFFERENCES if audit.figure.differences else ORDERLY


class _Progress:
    """Shows the looks of an audit as one."""

    def __init__(self, screen: VerifyScreen) -> None:
        from cdc.verification.reading import VerificationProgress

        self._screen = screen
        self._before = self._now = VerificationProgress()

    def observe(self, progress: VerificationProgress) -> None:
        """Take how far the look is that runs."""
        from cdc.verification.reading import VerificationProgress

        before = self._before
        self._now = VerificationProgress(
            before.items + progress.items,
            before.documents + progress.documents,
            before.looked_at + progress.looked_at,
            before.read_units + progress.read_units,
        )
        self._screen.observe(self._now)

    def next_look(self) -> None:
        """A look is over."""
        self._before = self._now


def _show(figure: AuditFigure, wanted: WantedAudit) -> None:
    if wanted.as_json:
        import orjson

        print(orjson.dumps({**figure.facts(), "left": figure.left, "verdict": figure.verdict}).decode())
        return
    from rich.console import Console

    print_figure(figure, Console(highlight=False))


def print_figure(figure: AuditFigure, console: Console) -> None:
    """Print a figure for people."""
    from rich.text import Text

    from cdc.loads.price import dollars_of_read_units

    def say(line: str, style: str = "") -> None:
        console.print(Text(line, style=style, overflow="fold"), soft_wrap=not console.is_terminal)

    say(f"{figure.table}: {figure.verdict}", "bold red" if figure.left else "bold green")
    if figure.left:
        say(f"`cdc verify --table {figure.table}` finds them all, and says what differs")
    if figure.untold:
        say(
            f"{figure.untold:,} documents were left out: neither id nor fields tell which items they are of; "
            "`cdc verify` reads the table for them"
        )
    if figure.unsettled:
        say(f"{figure.unsettled:,} documents changed at each look")
    bill = f"{figure.read_units:,.1f} read units, ${dollars_of_read_units(figure.read_units):,.4f} on demand"
    say(bill, "dim")
