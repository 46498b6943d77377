"""Observer: one function that is given an event for each step, for metrics and status; never anything of an item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "UNOBSERVED",
    "ArchivedObject",
    "BatchReceived",
    "ChangesSettled",
    "DeadLettered",
    "Event",
    "Flushed",
    "LeftForLater",
    "Observer",
    "RecordsSettled",
    "Retried",
    "SetAside",
    "VersionsTied",
    "WriteTimed",
    "Wrote",
    "observe_all",
]


@dataclass(frozen=True, slots=True)
class BatchReceived:
    """A Lambda received a batch. A consumer's shards show the ages of theirs themselves."""

    table: str
    records: int
    oldest_seconds: float
    """Age of the oldest change."""


@dataclass(frozen=True, slots=True)
class RecordsSettled:
    """Records of a table, or of a Kinesis stream of several tables, are settled."""

    table: str
    records: int
    seconds: float
    """Time since they were read."""
    size_bytes: int = 0
    """Their size as the stream has it."""
    left_by_core: int = 0
    """So many of them the compiled core left to Python, wholly or in part; none where there is no core."""


@dataclass(frozen=True, slots=True)
class ChangesSettled:
    """Changes of one operation (`INSERT`, `MODIFY`, `REMOVE`) are among the records that are settled."""

    table: str
    operation: str
    count: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """A sink's outcomes, by their names. Deferred changes are counted once they are not deferred any more."""

    sink: str
    outcomes: Counter[str]


@dataclass(frozen=True, slots=True)
class LeftForLater:
    """A sink was still deferring changes at the deadline; they are counted at each write."""

    sink: str
    changes: int


@dataclass(frozen=True, slots=True)
class WriteTimed:
    """A write has ended. The time includes its retries and its dead letters."""

    sink: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Retried:
    """A write or a flush is tried again. `reason` is the label of a cause."""

    sink: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A dead letter of a change that a sink rejected is stored. `reason` is the label of a cause."""

    sink: str
    reason: str


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """An object of the archive is written."""

    size_bytes: int


@dataclass(frozen=True, slots=True)
class VersionsTied:
    """Two records of one item have equal versions."""

    index: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """A field of a document is written where the index does not look at it, since it does not fit.

    `name`: the field's, of the first 100 that an index had in this process; `other` for the rest.
    """

    index: str
    name: str


@dataclass(frozen=True, slots=True)
class Flushed:
    """All that a sink applied is durable."""

    sink: str
    seconds: float
    """Time since the flush began."""


Event = (
    BatchReceived
    | RecordsSettled
    | ChangesSettled
    | Wrote
    | LeftForLater
    | WriteTimed
    | Retried
    | DeadLettered
    | ArchivedObject
    | VersionsTied
    | SetAside
    | Flushed
)

Observer = Callable[[Event], None]
"""Receives every event. The threads of all shards call it at once: it has to be quick and to raise nothing."""


def UNOBSERVED(event: Event) -> None:  # noqa: N802  (the one value that stands for "off")
    """Ignores every event."""


def observe_all(*observers: Observer) -> Observer:
    """Several observers as one; each receives every event, in their order."""

    def observe(event: Event) -> None:
        for observer in observers:
            observer(event)

    return observe
