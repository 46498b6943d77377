"""Page: HTML that stands alone: its own style, and nothing from elsewhere, by day and by night."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from cdc.verification.style import STYLE
from cdc.verification.wording import visible

__all__ = ["page_of", "table_of", "text_of"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MORE_STYLE = """
header+section h2{margin-top:2.4rem}
article+article{margin-top:1.2rem}
table.plain{table-layout:auto}
.plain th:first-child{width:auto}
.plain th,.plain td{padding-right:1.2rem}
.plain td:first-child,.plain td:last-child{overflow-wrap:anywhere}
.plain td,.plain th{vertical-align:bottom}
.plain .number{text-align:right;font-variant-numeric:tabular-nums}
.verdict{font-weight:600}
.note{color:var(--soft);font-size:.92rem;margin:.6rem 0 0}
.good{color:var(--equal)}.bad{color:var(--differs)}
@media (max-width:40rem){.plain th,.plain td{padding-right:.6rem;font-size:.85rem}}
""".strip()


def text_of(text: object) -> str:
    """The text, safe in HTML: items and queries are hostile."""
    return escape(visible(str(text)))


def page_of(title: str, about: str, headline: str, parts: Iterable[str], *, is_good: bool) -> str:
    """A whole page.

    Args:
        title: plain text, as are `about` and `headline`.
        parts: HTML.
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{text_of(title)}</title><style>{STYLE}\n{_MORE_STYLE}</style></head>\n<body><main>\n"
        f'<header class="{"equal" if is_good else "differs"}"><p class="about">{text_of(about)}</p>\n'
        f"<h1>{text_of(headline)}</h1></header>\n{''.join(parts)}</main></body></html>\n"
    )


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[int] = ()) -> str:
    """A table of plain texts; the columns at the places `numbers` are aligned to the right."""
    styles = [' class="number"' if place in numbers else "" for place in range(len(columns))]
    head = "".join(f'<th scope="col"{style}>{text_of(name)}</th>' for name, style in zip(columns, styles, strict=True))
    body = ""
    for row in rows:
        cells = "".join(f"<td{style}>{text_of(cell)}</td>" for cell, style in zip(row, styles, strict=True))
        body += f"<tr>{cells}</tr>\n"
    return f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>\n'
