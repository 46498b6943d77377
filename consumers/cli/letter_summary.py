"""Summaries of dead letters: how many of which kind, nothing of their items' values."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cdc.dead_letters.letter import DeadLetter
from cdc.dead_letters.redrive import INDEX_SINK, StillDead
from cdc.sinks.opensearch.refusals import Refusal, refusal_of

__all__ = ["LetterFacts", "counts_by_reason", "facts_of", "kept_lines", "print_counts", "summary_lines"]

_NARROWEST = 60
_KIND = ("reason", "field", "problem", "table", "sink", "index")


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """The facts of a letter that may be shown: no value of its item, not even the document's id."""

    key: str
    table: str
    sink: str
    index: str
    operation: str
    reason: str
    kept_at: str
    attempts: int
    field: str = ""
    """The field that OpenSearch refused, where its error names it; `problem` is what it says of the field."""
    problem: str = ""


def facts_of(key: str, letter: DeadLetter) -> LetterFacts:
    """The facts of a letter and its key."""
    refusal = refusal_of(letter.detail) if letter.sink == INDEX_SINK else Refusal()
    return LetterFacts(
        key,
        letter.table,
        letter.sink,
        letter.index,
        letter.operation,
        letter.reason,
        letter.kept_at,
        letter.attempts,
        refusal.field,
        refusal.problem,
    )


def counts_by_reason(found: Sequence[LetterFacts]) -> list[dict[str, Any]]:
    """Count letters by reason, field, table, sink and index, the most frequent first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for facts in found:
        groups.setdefault(tuple(getattr(facts, name) for name in _KIND), []).append(facts.kept_at)
    return [
        {**dict(zip(_KIND, kind, strict=True)), "count": len(times), "oldest": min(times), "newest": max(times)}
        for kind, times in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def summary_lines(found: Sequence[LetterFacts], width: int) -> list[str]:
    """A paragraph for each kind of letter. Long lines are wrapped; nothing is cut."""
    lines: list[str] = []
    for count in counts_by_reason(found):
        number = f"{count['count']:>5}  "
        indent = " " * len(number)
        about = [str(Refusal(count["field"], count["problem"])), _where(count), _when(count["oldest"], count["newest"])]
        lines += textwrap.wrap(count["reason"], width, initial_indent=number, subsequent_indent=indent)
        for text in filter(None, about):
            lines += textwrap.wrap(
                text, width, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
            )
    return lines


def _where(count: dict[str, Any]) -> str:
    place = f"index {count['index']}" if count["index"] else f"sink {count['sink']}"
    return f"table {count['table']}, {place}" if count["table"] else place


def _when(oldest: str, newest: str) -> str:
    first, last = (time[:19].replace("T", " ") for time in (oldest, newest))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def print_counts(found: Sequence[LetterFacts]) -> None:
    """Print how many letters there are of each kind."""
    if not found:
        print("no dead letters")
        return
    print(f"{len(found)} dead letter{'s' if len(found) != 1 else ''}")
    for line in summary_lines(found, max(_NARROWEST, shutil.get_terminal_size().columns)):
        print(line)


def kept_lines(kept: Sequence[tuple[str, StillDead]]) -> list[str]:
    """One line for each cause, index and field, and where to look for more."""
    groups: dict[str, list[str]] = {}
    for key, result in kept:
        reason = result.reason.replace("\n  → ", " → ")
        if result.rejected is not None:
            index, refusal = result.rejected.document.partition("/")[0], str(refusal_of(result.rejected.detail))
            reason = ", ".join(filter(None, [reason, index and f"index {index}", refusal]))
        groups.setdefault(reason, []).append(key)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    lines = [f"{len(keys)} kept: {reason}" for reason, keys in ordered]
    if lines:
        lines.append(f"  → `cdc dead-letters show {kept[0][0]}` prints the first of them whole")
        lines.append("  → mend what the reasons say, then redrive again, or discard what is not wanted")
    return lines
