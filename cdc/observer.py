"""Observer: told what happens on the way, for metrics and status; never anything of an item."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

__all__ = ["UNOBSERVED", "Observer", "Observers", "reason_of"]


@dataclass(frozen=True)
class Observer:
    """Told what happens, and does nothing: an observer overrides what it wants to know.

    Called by the threads of all shards at once; it must be quick and raise nothing. Every text it gets is one of few:
    names of sinks, tables and indices, or a reason by `reason_of`.
    """

    def received(self, table: str, records: int, oldest_seconds: float) -> None:
        """A Lambda was given a batch of so many records, its oldest change this old. A consumer's shards show theirs
        themselves."""

    def settled(self, table: str, records: int, seconds: float, size_bytes: int = 0) -> None:
        """So many records of a table (or of a stream of several) are settled, this long after they were read; their
        size as the stream has it."""

    def changed(self, table: str, operation: str, count: int) -> None:
        """So many of the records that are settled are changes of this operation (`INSERT`, `MODIFY`, `REMOVE`)."""

    def wrote(self, sink: str, outcomes: Counter[str]) -> None:
        """How many changes had which outcome in a sink; deferred ones are counted once they are not."""

    def deferred(self, sink: str, changes: int) -> None:
        """So many changes were tried in vain, until the deadline, and are left for later: counted at each write."""

    def took(self, sink: str, seconds: float) -> None:
        """A write took this long, its retries and its dead letters included."""

    def retried(self, sink: str, reason: str) -> None:
        """An attempt (a write or a flush) is made again for this reason."""

    def kept(self, sink: str, reason: str) -> None:
        """A dead letter is stored, of what this sink rejected."""

    def archived(self, size_bytes: int) -> None:
        """An object of the archive is written."""

    def tied(self, index: str) -> None:
        """Two records of one item have equal versions."""

    def flushed(self, sink: str, seconds: float) -> None:
        """All that a sink applied is durable, this long after its flush began."""


UNOBSERVED = Observer()
"""Nobody watches."""


@dataclass(frozen=True)
class Observers(Observer):
    """Several observers as one, each told everything."""

    observers: tuple[Observer, ...] = ()

    def received(self, table: str, records: int, oldest_seconds: float) -> None:
        """See `Observer.received`."""
        for observer in self.observers:
            observer.received(table, records, oldest_seconds)

    def settled(self, table: str, records: int, seconds: float, size_bytes: int = 0) -> None:
        """See `Observer.settled`."""
        for observer in self.observers:
            observer.settled(table, records, seconds, size_bytes)

    def changed(self, table: str, operation: str, count: int) -> None:
        """See `Observer.changed`."""
        for observer in self.observers:
            observer.changed(table, operation, count)

    def wrote(self, sink: str, outcomes: Counter[str]) -> None:
        """See `Observer.wrote`."""
        for observer in self.observers:
            observer.wrote(sink, outcomes)

    def deferred(self, sink: str, changes: int) -> None:
        """See `Observer.deferred`."""
        for observer in self.observers:
            observer.deferred(sink, changes)

    def took(self, sink: str, seconds: float) -> None:
        """See `Observer.took`."""
        for observer in self.observers:
            observer.took(sink, seconds)

    def retried(self, sink: str, reason: str) -> None:
        """See `Observer.retried`."""
        for observer in self.observers:
            observer.retried(sink, reason)

    def kept(self, sink: str, reason: str) -> None:
        """See `Observer.kept`."""
        for observer in self.observers:
            observer.kept(sink, reason)

    def archived(self, size_bytes: int) -> None:
        """See `Observer.archived`."""
        for observer in self.observers:
            observer.archived(size_bytes)

    def tied(self, index: str) -> None:
        """See `Observer.tied`."""
        for observer in self.observers:
            observer.tied(index)

    def flushed(self, sink: str, seconds: float) -> None:
        """See `Observer.flushed`."""
        for observer in self.observers:
            observer.flushed(sink, seconds)


_REASONS = tuple(
    (re.compile(pattern), reason)
    for pattern, reason in (
        (r"^rejected in masses", "rejected_in_masses"),
        (r"^rejected, and there is no dead-letter store", "no_dead_letter_store"),
        (r"^rejected, and the dead letter could not be stored", "dead_letter_not_stored"),
        (r"^deferred_too_long", "deferred_too_long"),
        (r"^OpenSearch: \d{3} ([a-z][a-z_]{0,60})$", r"\1"),
        (r"^OpenSearch:? (?:answered )?(\d{3})\b", r"http_\1"),
        (r"^OpenSearch is out of reach", "out_of_reach"),
        (r"^OpenSearch's answer", "strange_answer"),
        (r"^the (?:index|alias) \S+ has vanished$", "index_vanished"),
        (r"^the item can't be read at", "unreadable_item"),
        (r"^the record can't be written as a line", "unwritable_line"),
        (r"deadline has passed", "deadline"),
        (r"keeps being written by others$", "lost_race"),
        (r"An error occurred \((\w{1,60})\) when calling", r"\1"),
        (r"Could not connect|[Tt]imeout on endpoint|Connection was closed", "out_of_reach"),
        (r"^\w+: it does not answer\b", "out_of_reach"),
        (r"it is throttled", "throttled"),
        (r"^\w+ raised \w+", "function_raised"),
        (r"^\w+ rejected it$", "function_rejected"),
    )
)


def reason_of(cause: str) -> str:
    """The kind of a cause, one of few: an error type of OpenSearch's or AWS's, or a word of ours; `other` for the rest.

    A cause may name an index, an object or a path; as a label each would be a series of its own.
    """
    for pattern, reason in _REASONS:
        if found := pattern.search(cause):
            return found.expand(reason)
    return "other"
