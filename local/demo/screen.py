"""What the demo shows while it runs."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from cdc.records.change import Added, Changed, Removed
from cdc.records.decoding import change_from_stream_record
from cdc.records.stream import Stream

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient

__all__ = ["Differences", "Status", "picture"]

_SHOWN = 6


@dataclass(frozen=True)
class Status:
    """What the consumer's status file says by now: records settled, and what became of changes in the index."""

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
            page = self.client.get_records(ShardIterator=iterator, Limit=200)
            for record in page["Records"][-_SHOWN:]:
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


def picture(seconds: float, written: int, status: Status, differences: Differences) -> Group:
    """One look at all of it; the lag is in changes."""
    columns = ("seconds", "written", "applied", "superseded", "skipped", "dead letters", "lag", "changes/s")
    table = Table(*columns, width=100)
    table.add_row(
        f"{seconds:.0f}",
        str(written),
        *(str(status.indexed[name]) for name in ("applied", "superseded", "skipped", "rejected")),
        str(max(0, written - status.settled)),
        f"{status.settled / seconds:.0f}" if seconds else "",
    )
    return Group(table, Panel("\n".join(differences.last) or "…", title="last differences", width=100))


def line(seconds: float, written: int, status: Status) -> str:
    """The same where there is no terminal."""
    counts = ", ".join(f"{count} {name}" for name, count in sorted(status.indexed.items()))
    behind = max(0, written - status.settled)
    return f"{seconds:4.0f} s: {written} written; {counts or f'{status.settled} settled'}; lag {behind} changes"


def console() -> Console:
    """Where the demo prints."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=110)
