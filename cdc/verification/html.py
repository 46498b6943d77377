"""HTML: findings as one page that stands alone, without a script, an image or a font from elsewhere.

Items are hostile: everything of them is escaped, and the page's policy lets nothing but its own style take effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

import msgspec

from cdc.duration import spoken
from cdc.verification.findings import Difference, DifferenceClass, Findings
from cdc.verification.sides import Sides, cut, sides_of
from cdc.verification.style import STYLE
from cdc.verification.wording import CLASSES, besides, compared, effort, headline, is_repaired, scope, visible

__all__ = ["html_of"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_MOST_FIELDS = 60
_MOST_CHARACTERS = 600
_LEAST_WIDTH = 1.5
"""Percent: so wide is the bar of a class that has any."""
_COLUMNS = {"expected": "The item says", "found": "The index holds"}


def html_of(findings: Findings) -> str:
    """The findings as an HTML page for people: the verdict, the classes, then examples with both sides.

    It holds the examples' contents: it is for who may read the table.
    """
    return "".join(_page(findings))


def _page(findings: Findings) -> Iterator[str]:
    title = f"{_text(findings.table)} verified"
    yield (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
    )
    yield from _head(findings)
    yield from _classes(findings)
    yield from _facts(findings)
    yield from _examples(findings)
    yield "</main></body></html>\n"


def _head(findings: Findings) -> Iterator[str]:
    state = "differs" if findings.left or (findings.differences and not is_repaired(findings)) else "equal"
    indices = ", ".join(f"<code>{_text(index)}</code>" for index in findings.indices)
    yield (
        f'<header class="{state}"><p class="about">Table <code>{_text(findings.table)}</code> and '
        f"{'index' if len(findings.indices) == 1 else 'indices'} {indices}</p>\n"
        f"<h1>{_text(headline(findings))}</h1>\n"
        f'<p class="when">{_moment(findings.began_at)}, in {spoken(_seconds(findings))}. '
        f"{'Contents were compared.' if findings.with_content else 'Ids were compared, not contents.'}"
        f"{' A sample was drawn at random.' if findings.sampled else ''}</p></header>\n"
    )


def _classes(findings: Findings) -> Iterator[str]:
    counts = {kind: findings.counts.get(kind, 0) for kind in CLASSES}
    whole, most = compared(findings), max(counts.values())
    yield '<section aria-labelledby="classes"><h2 id="classes">Classes</h2>\n'
    yield _strip(counts)
    share = f"{_share(findings.equal, whole)} of {whole:,} compared" if whole else "nothing to compare"
    yield f'<ul class="classes">\n{_row("equal", "equal", findings.equal, None, share)}'
    for kind, count in counts.items():
        words = CLASSES[kind]
        remedy = f' <span class="remedy">{_marked(words.remedy)}</span>' if count else ""
        yield _row(kind, kind, count, count / most if most else 0.0, f"{_text(words.meaning)}{remedy}")
    for name, (meaning, count) in besides(findings).items():
        if count:
            yield _row("other", name, count, None, _text(meaning))
    known = {kind.value for kind in CLASSES}
    for name, count in findings.counts.items():
        if name not in known:
            yield _row("other", name, count, None, "")
    yield "</ul></section>\n"


def _strip(counts: dict[DifferenceClass, int]) -> str:
    """The shares of the classes among all that differs."""
    parts = "".join(
        f'<span class="fill {kind}" style="flex-grow:{count}" title="{kind}: {count:,}"></span>'
        for kind, count in counts.items()
        if count
    )
    label = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f'<div class="strip" role="img" aria-label="{label}">{parts}</div>\n' if parts else ""


def _row(style: str, name: str, count: int, share: float | None, told: str) -> str:
    bar = ""
    if share is not None:
        width = max(share * 100, _LEAST_WIDTH) if count else 0
        bar = f'<span class="bar"><span class="fill {style}" style="width:{width:.1f}%"></span></span>'
    return (
        f'<li class="{"some" if count else "none"}"><span class="dot fill {style}"></span>'
        f'<span class="name">{_text(name)}</span><span class="count">{count:,}</span>{bar}'
        f'<span class="told">{told}</span></li>\n'
    )


def _facts(findings: Findings) -> Iterator[str]:
    facts = [
        ("Items read", f"{findings.items:,}"),
        ("Documents read", f"{findings.documents:,}"),
        ("Price", effort(findings)),
        ("Compared", "ids and contents" if findings.with_content else "ids only"),
        ("Extent", scope(findings)),
        ("Began", _moment(findings.began_at)),
        ("Ended", _moment(findings.ended_at)),
        ("Took", spoken(_seconds(findings))),
    ]
    if is_repaired(findings):
        by_class = ", ".join(f"{count:,} {_text(name)}" for name, count in findings.repaired.items() if count)
        facts += [("Mended", by_class or "none"), ("Left over", f"{findings.left:,}")]
    rows = "".join(f"<div><dt>{name}</dt><dd>{told}</dd></div>\n" for name, told in facts)
    yield f'<section aria-labelledby="facts"><h2 id="facts">What it took</h2><dl>\n{rows}</dl></section>\n'


def _examples(findings: Findings) -> Iterator[str]:
    if not findings.examples:
        return
    yield '<section aria-labelledby="examples"><h2 id="examples">Examples</h2>\n'
    for kind in CLASSES:
        of_kind = [example for example in findings.examples if example.kind == kind]
        if of_kind:
            of_how_many = max(findings.counts.get(kind, 0), len(of_kind))
            yield (
                f'<h3><span class="dot fill {kind}"></span>{kind} '
                f"<small>{len(of_kind):,} of {of_how_many:,}</small></h3>\n"
            )
            for example in of_kind:
                yield from _example(example)
    yield "</section>\n"


def _example(one: Difference) -> Iterator[str]:
    version = "no document" if one.version is None else f"version {one.version}"
    yield (
        f'<article><h4><code>{_text(one.index)}</code><span class="slash">/</span><code>{_text(one.id)}</code></h4>\n'
        f'<p class="facts">{version}{_keys(one)}</p>\n'
    )
    if one.reason:
        yield f'<p class="reason">{_text(one.reason)}</p>\n'
    if one.letter:
        yield f'<p class="letter">Dead letter <code>{_text(one.letter)}</code></p>\n'
    sides = sides_of(one.expected, one.found)
    differing = [side for side in sides if side.differs]
    equal = [side for side in sides if not side.differs]
    columns = [name for name in _COLUMNS if getattr(one, name) is not None]
    if differing:
        yield _table(differing, columns)
    if equal:
        noun = "field is" if len(equal) == 1 else "fields are"
        yield f"<details><summary>{len(equal):,} {noun} equal</summary>{_table(equal, columns)}</details>\n"
    yield "</article>\n"


def _keys(one: Difference) -> str:
    if one.keys is None:
        return ""
    try:
        keys = msgspec.json.encode(one.keys).decode()
    except (TypeError, ValueError):
        keys = str(one.keys)
    return f" · keys <code>{_text(keys)}</code>"


def _table(sides: Sequence[Sides], columns: Sequence[str]) -> str:
    rows = "".join(_row_of_field(side, columns) for side in sides[:_MOST_FIELDS])
    if len(sides) > _MOST_FIELDS:
        more = f"and {len(sides) - _MOST_FIELDS:,} more fields"
        rows += f'<tr><td colspan="{len(columns) + 1}" class="more">{more}</td></tr>\n'
    heads = "".join(f'<th scope="col">{_COLUMNS[name]}</th>' for name in columns)
    style = "both" if len(columns) > 1 else "one"
    head = f'<thead><tr><th scope="col">Field</th>{heads}</tr></thead>'
    return f'<table class="{style}">{head}<tbody>\n{rows}</tbody></table>\n'


def _row_of_field(side: Sides, columns: Sequence[str]) -> str:
    values = "".join(
        f'<td data-side="{_COLUMNS[name]}">{_value(getattr(side, name), side, name)}</td>' for name in columns
    )
    path = _text(side.path) or "the whole"
    return f'<tr class="{"differs" if side.differs else "equal"}"><th scope="row">{path}</th>{values}</tr>\n'


def _value(value: str | None, side: Sides, name: str) -> str:
    if value is None:
        return '<span class="absent">absent</span>'
    other = side.found if name == "expected" else side.expected
    parts = cut(value, other if side.differs else None, _MOST_CHARACTERS)
    if not side.differs or other is None:
        return (
            f'<code class="{name if side.differs else "same"}">{_text("".join((parts.before, parts.differing)))}</code>'
        )
    mark = f"<mark>{_text(parts.differing)}</mark>" if parts.differing else ""
    return f'<code class="{name}">{_text(parts.before)}{mark}{_text(parts.after)}</code>'


def _text(text: object) -> str:
    return escape(visible(str(text)))


def _marked(text: str) -> str:
    """The text with what stands in backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _share(part: int, whole: int) -> str:
    """Percent, cut and never rounded up: 100 % means all."""
    millis = part * 100_000 // whole
    return f"{millis // 1000}.{millis % 1000:03d} %" if part != whole else "100 %"


def _seconds(findings: Findings) -> float:
    return (findings.ended_at - findings.began_at).total_seconds()


def _moment(moment: datetime) -> str:
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return f'<time datetime="{utc.isoformat()}">{utc:%Y-%m-%d %H:%M:%S} UTC</time>'
