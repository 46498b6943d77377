"""The page of recorded searches that were run on two indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cdc.rebuilds.hits import SearchCompared, headline_of
from cdc.rebuilds.page import page_of, table_of, text_of

__all__ = ["html_of_searches"]

_MOST_ROWS = 500


def html_of_searches(found: Sequence[SearchCompared], before: str, after: str) -> str:
    """The comparison as one HTML page for people. It shows ids where `found` has them, and no contents."""
    differing = [one for one in found if one.differs]
    about = f"Recorded searches on {before} and {after}"
    parts = _parts(found, differing)
    return page_of("Searches compared", about, headline_of(found), parts, is_good=not differing)


def _parts(found: Sequence[SearchCompared], differing: Sequence[SearchCompared]) -> Iterator[str]:
    yield "<section><h2>Searches</h2>\n<article>"
    columns = ("search", "hits before", "after", "gained", "lost", "moved", "ms before", "after")
    order = [*differing, *(one for one in found if not one.differs)]
    yield table_of(columns, [_row(one) for one in order[:_MOST_ROWS]], range(1, 8))
    if len(order) > _MOST_ROWS:
        yield f'<p class="note">and {len(order) - _MOST_ROWS:,} more</p>'
    yield "</article></section>\n"
    if differing:
        yield "<section><h2>What differs</h2>\n"
        for one in differing[:_MOST_ROWS]:
            yield from _one(one)
        yield "</section>\n"


def _row(one: SearchCompared) -> tuple[str, ...]:
    lists = (one.gained, one.lost, one.moved)
    if one.failed_before or one.failed_after:
        counts = ["failed" if failed else f"{hits:,}" for failed, hits in _totals(one)] + [""] * len(lists)
    else:
        counts = [f"{hits:,}" for _, hits in _totals(one)] + [f"{len(hits):,}" for hits in lists]
    return (one.name, *counts, f"{one.took_before:,}", f"{one.took_after:,}")


def _totals(one: SearchCompared) -> Sequence[tuple[str, int]]:
    return (one.failed_before, one.before), (one.failed_after, one.after)


def _one(one: SearchCompared) -> Iterator[str]:
    yield f'<article><h4>{text_of(one.name)}</h4>\n<p class="reason">{text_of(one.verdict)}</p>\n'
    rows: list[tuple[object, ...]] = [("gained", "", hit.rank, hit.id) for hit in one.gained]
    rows += [("lost", hit.rank, "", hit.id) for hit in one.lost]
    rows += [("moved", hit.before, hit.after, hit.id) for hit in one.moved]
    if rows:
        has_ids = any(row[3] for row in rows)
        columns = ("hit", "rank before", "after", "id")[: 4 if has_ids else 3]
        yield table_of(columns, [row[: len(columns)] for row in rows], (1, 2))
    yield "</article>\n"
