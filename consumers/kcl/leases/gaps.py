"""Gaps: records that are gone before they were read. The process stops and says so, or goes on and keeps a letter."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cdc.dead_letters.letter import DeadLetter, letter_of_lost_records
from cdc.dead_letters.store import DeadLetterStore
from cdc.delivery.consumer_state import Running
from cdc.errors import ConsumerFailed

__all__ = ["Gap", "Gaps", "made_at"]

log = logging.getLogger(__name__)

_BORN = re.compile(r"shardId-0*(\d{13})-")
"""A DynamoDB shard's id says when it was made, in epoch milliseconds (seen, and what the KCL's adapter reads there)."""


def made_at(shard: str) -> float | None:
    """When a DynamoDB shard was made, in seconds since 1970; None if its id does not say."""
    found = _BORN.match(shard)
    return int(found[1]) / 1000 if found else None


@dataclass(frozen=True, slots=True)
class Gap:
    """Records of a shard that can't be read any more, none of them known.

    `after` is the last sequence number that was acknowledged; empty: nothing was. `whole_shard`: the shard itself is
    gone, else the stream still has what came later.
    """

    stream: str
    table: str
    shard: str
    after: str
    whole_shard: bool

    @property
    def text(self) -> str:
        """The gap in words: what is missing, since when and until when, as far as that can be known."""
        what = "the shard is gone" if self.whole_shard else "records were trimmed before they were read"
        since = f"everything after sequence number {self.after}" if self.after else "everything from its beginning"
        born = made_at(self.shard)
        made = f" (made {datetime.fromtimestamp(born, UTC):%Y-%m-%dT%H:%M:%SZ})" if born is not None else ""
        until = "" if self.whole_shard else ", up to what the stream still keeps"
        return f"a gap in {self.shard}{made} of {self.stream}: {what}; {since} may be missing{until}"

    def letter(self, now: datetime) -> DeadLetter:
        """The gap as a dead letter of its own kind."""
        label = self.stream.rsplit("/", 1)[-1]
        return letter_of_lost_records(
            identity=f"gap/{label}/{self.shard}/{self.after or 'beginning'}",
            stream=self.stream,
            table=self.table,
            reason="gap: the shard is gone" if self.whole_shard else "gap: records were trimmed before they were read",
            detail=f"{self.text}. Nothing of it can be redriven: `cdc verify --repair` mends the index.",
            about={"shard": self.shard, "after": self.after, "wholeShard": self.whole_shard},
            now=now,
            sequence=self.after,
        )


def _nothing(_name: str) -> None:
    """Nothing follows."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Gaps:
    """Records gaps, or stops the process at the first. Threads of several shards call it at once."""

    running: Running
    letters: DeadLetterStore | None
    """Where each gap is kept before reading goes on behind it; None: the process stops at the first."""
    now: Callable[[], datetime] = _now
    then: Callable[[str], None] = _nothing
    """Told the table, or the Kinesis stream, of each gap that was recorded."""

    @property
    def goes_on(self) -> bool:
        """Does the consumer go on behind a gap?"""
        return self.letters is not None

    def found(self, gap: Gap) -> None:
        """Return when the gap is recorded and reading may go on behind it.

        Raises:
            ConsumerFailed: it may not; the process has been asked to stop.
            SinkUnavailable: it could not be recorded: ask again.
        """
        if self.letters is None:
            failure = ConsumerFailed(
                gap.text,
                remedy="CDC_ON_GAP=continue goes on behind it and keeps a dead letter that says what is missing; "
                "CDC_ON_GAP=repair also verifies the whole table, and mends its indices.",
            )
            self.running.fail(failure)
            raise failure
        self.letters.keep(gap.letter(self.now()))
        log.error("going on behind a gap, kept as a dead letter: %s", gap.text)
        self.then(gap.table)
