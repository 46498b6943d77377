"""Recorded searches on two indices, at a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cdc.rebuilds.hits import SearchCompared, headline_of, without_ids
from cdc.verification.wording import visible
from consumers.cli.plain_table import plain_table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["print_searches", "tell_searches"]

_MOST_IDS = 5
_NONE = "—"


def tell_searches(
    found: Sequence[SearchCompared],
    before: str,
    after: str,
    html: Path | None,
    *,
    as_json: bool,
    with_ids: bool,
    in_lines: bool = False,
) -> None:
    """Write the page where one is asked for, and print the comparison.

    Args:
        with_ids: as for `print_searches`; of the page too.
        in_lines: JSON is one line among others, not the whole output.
    """
    from cdc.rebuilds.queries_html import html_of_searches
    from consumers.cli.pages import write_page

    if html is not None:
        write_page(html, html_of_searches(found if with_ids else [without_ids(one) for one in found], before, after))
    if as_json and in_lines:
        shown = found if with_ids else [without_ids(one) for one in found]
        print(json.dumps({"searches": [_facts(one) for one in shown]}, ensure_ascii=False), flush=True)
        return
    print_searches(found, as_json=as_json, with_ids=with_ids)


def print_searches(
    found: Sequence[SearchCompared], *, as_json: bool = False, with_ids: bool = False, console: Console | None = None
) -> None:
    """Print the comparison on standard output: those that differ first, then how many are the same.

    Args:
        with_ids: show which hits were gained, lost or moved: ids are made of items' keys.
        console: for tests.
    """
    shown = found if with_ids else [without_ids(one) for one in found]
    if as_json:
        print(json.dumps([_facts(one) for one in shown], indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    differing = [one for one in shown if one.differs]
    console.print(Text(headline_of(found), style="bold yellow" if differing else "bold green"))
    if differing:
        console.print()
        columns = ("search", "hits", "ms", "what differs")
        console.print(plain_table("Searches that differ", columns, [_row(one) for one in differing], (1, 2)))
    for one in differing if with_ids else ():
        for line in _ids(one):
            console.print(Text(visible(line), overflow="fold"))


def _facts(one: SearchCompared) -> dict[str, object]:
    import msgspec

    return {**msgspec.to_builtins(one), "differs": one.differs, "verdict": one.verdict}


def _row(one: SearchCompared) -> tuple[str, ...]:
    before = _NONE if one.failed_before else f"{one.before:,}"
    after = _NONE if one.failed_after else f"{one.after:,}"
    return one.name, f"{before} → {after}", f"{one.took_before:,} → {one.took_after:,}", one.verdict


def _ids(one: SearchCompared) -> Iterator[str]:
    gained = [f"{hit.id} (at {hit.rank})" for hit in one.gained]
    lost = [f"{hit.id} (was at {hit.rank})" for hit in one.lost]
    moved = [f"{hit.id} ({hit.before} → {hit.after})" for hit in one.moved]
    for name, ids in (("gained", gained), ("lost", lost), ("moved", moved)):
        if ids:
            more = f" and {len(ids) - _MOST_IDS:,} more" if len(ids) > _MOST_IDS else ""
            yield f"{one.name}: {name} {', '.join(ids[:_MOST_IDS])}{more}"
