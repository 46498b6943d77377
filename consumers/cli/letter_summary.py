"""What may be shown of dead letters: nothing of their items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cdc.dead_letters.letter import DeadLetter

__all__ = ["LetterFacts", "counts_by_reason", "facts_of", "print_counts"]


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """What may be shown of a letter: nothing of its item, not even the document's id."""

    key: str
    table: str
    sink: str
    index: str
    operation: str
    reason: str
    kept_at: str
    attempts: int


def facts_of(key: str, letter: DeadLetter) -> LetterFacts:
    """The facts of a letter and its key."""
    return LetterFacts(
        key,
        letter.table,
        letter.sink,
        letter.index,
        letter.operation,
        letter.reason,
        letter.kept_at,
        letter.attempts,
    )


def counts_by_reason(found: Sequence[LetterFacts]) -> list[dict[str, Any]]:
    """By reason, the most frequent first."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for facts in found:
        groups.setdefault((facts.reason, facts.table, facts.sink, facts.index), []).append(facts.kept_at)
    return [
        {
            "reason": reason,
            "table": table,
            "sink": sink,
            "index": index,
            "count": len(times),
            "oldest": min(times),
            "newest": max(times),
        }
        for (reason, table, sink, index), times in sorted(groups.items(), key=lambda group: -len(group[1]))
    ]


def print_counts(found: Sequence[LetterFacts]) -> None:
    """Print a table of letters by reason."""
    if not found:
        print("no dead letters")
        return
    from rich.console import Console
    from rich.table import Table as Rows
    from rich.text import Text

    rows = Rows("count", "reason", "table", "sink", "index", "oldest", "newest")
    for count in counts_by_reason(found):
        cells = [str(count[name]) for name in ("count", "reason", "table", "sink", "index")]
        rows.add_row(*map(Text, [*cells, count["oldest"][:19], count["newest"][:19]]))
    Console().print(rows)
