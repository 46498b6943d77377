"""The demo's screen: counts while it runs, the last differences, the verdict."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import HEAVY, SIMPLE_HEAD
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cdc.records.change import Added, Changed, Removed
from cdc.records.decoding import change_from_stream_record
from cdc.records.stream import Stream

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

    from local.demo.judge import Verdict

__all__ = ["WIDTH", "Differences", "Look", "Status", "console", "counts", "line", "picture", "verdict_panel"]

WIDTH = 80
"""Columns that everything fits: a terminal's, unless somebody widens it."""
_SHOWN = 6
_WORDS = (
    "superseded: a newer change of the same item in its batch was written instead\n"
    "skipped: no mapping asks for the change"
)


@dataclass(frozen=True)
class Status:
    """The contents of the consumer's status file: records settled, and the outcomes of changes in the index."""

    settled: int
    indexed: Counter[str]

    @classmethod
    def read(cls, path: Path) -> Status:
        """Read all complete lines."""
        indexed: Counter[str] = Counter()
        settled = 0
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if text.endswith("\n"):
                    facts = json.loads(text)
                    settled += facts.get("settled", 0)
                    if facts.get("sink") == "opensearch":
                        indexed.update(facts["outcomes"])
        return cls(settled, indexed)


@dataclass
class Differences:
    """The last differences of the stream, by the library: what the README's first example shows."""

    client: DynamoDBStreamsClient
    stream_arn: str
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Follow the stream's newest records from a thread."""
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        stream = Stream.dynamodb(self.stream_arn)
        shard = self.client.describe_stream(StreamArn=self.stream_arn)["StreamDescription"]["Shards"][-1]
        iterator: str | None = self.client.get_shard_iterator(
            StreamArn=self.stream_arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
        )["ShardIterator"]
        while iterator and not self.stop.wait(1.0):
            page = self.client.get_records(ShardIterator=iterator, Limit=1000)
            modified = [record for record in page["Records"] if record["eventName"] == "MODIFY"]
            for record in (modified or page["Records"])[-_SHOWN:]:
                change = change_from_stream_record(dict(record), stream)
                for path, difference in list(change.differences().items())[:1]:
                    name = ".".join(map(str, path))
                    self.last.append(f"{change.operation:7} {change.keys['sk']:24} {name} {_shown(difference)}")
            iterator = page.get("NextShardIterator")


def _shown(difference: Added | Removed | Changed) -> str:
    match difference:
        case Added(after):
            return f"+ {after!s:.40}"
        case Removed(before):
            return f"- {before!s:.40}"
        case Changed(before, after):
            return f"{before!s:.25} → {after!s:.25}"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the demo: for how long changes are written, how many are, and what the consumer has done."""

    seconds: float
    written: int
    status: Status

    @property
    def rate(self) -> float:
        """Changes written a second."""
        return self.written / self.seconds if self.seconds else 0.0

    @property
    def behind(self) -> int:
        """Records that are written and not settled."""
        return max(0, self.written - self.status.settled)


def picture(look: Look, differences: Differences) -> Group:
    """Draw the screen while changes are written, within 80 columns."""
    shown = Text("\n".join(differences.last) or "…", no_wrap=True, overflow="ellipsis")
    return Group(counts(look), Panel(shown, title="last differences", width=WIDTH))


def counts(look: Look) -> Group:
    """The table of counts, and what its words mean."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    numbers = {
        "written": look.written,
        "changes/s\nwritten": round(look.rate),
        "applied": look.status.indexed["applied"],
        "superseded": look.status.indexed["superseded"],
        "skipped": look.status.indexed["skipped"],
        "dead\nletters": look.status.indexed["rejected"],
        "records\nbehind": look.behind,
    }
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*map(str, numbers.values()))
    return Group(table, Text(_WORDS, style="dim"))


def line(look: Look) -> str:
    """The same where there is no terminal."""
    indexed = ", ".join(f"{count} {name}" for name, count in sorted(look.status.indexed.items()))
    return (
        f"{look.seconds:4.0f} s: {look.written} written ({look.rate:.0f} changes/s); "
        f"{indexed or f'{look.status.settled} settled'}; {look.behind} records behind"
    )


def verdict_panel(verdict: Verdict, letters: int, look: Look, differing: int = 0, also: str = "") -> Panel:
    """The last thing that is shown, and the most visible.

    Args:
        differing: what our own verification calls different.
        also: more lines.
    """
    good = verdict.is_good and not letters and not differing
    text = Text(
        f"{look.written} changes written in {look.seconds:.0f} s: {look.rate:.0f} changes/s\n"
        f"{verdict.index}\n{verdict.archive}; {letters} dead letters{also}"
    )
    for name in ("missing", "stale", "extra", "not_archived", "archived_otherwise"):
        for entry in getattr(verdict, name)[:5]:
            text.append(f"\n  {name.replace('_', ' ')}: {entry}")
    title = "PASSED: index and archive are equal to the table" if good else "FAILED: not all is equal to the table"
    style = "bold green" if good else "bold red"
    return Panel(text, title=title, width=WIDTH, style=style, box=HEAVY, padding=(0, 2))


def console() -> Console:
    """Where the demo prints."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=WIDTH)
