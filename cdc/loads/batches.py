"""Batches: changes written to sinks one batch after the other, each for as long as it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from cdc.deadline import Clock, Deadline
from cdc.loads.unit import LoadStopped
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change
from cdc.sinks import Sink

__all__ = ["BatchWriter", "ReplayStopped", "Replayed"]

_MOST_CHANGES = 1000
_MOST_BYTES = 4 * 1024 * 1024
_SECONDS = 60.0
_LEAST_WAIT_SECONDS = 0.1
_BYTES_BESIDE = 200
"""The bytes of a change besides its images, about."""


class ReplayStopped(LoadStopped):
    """Somebody asked the replay to stop; it may begin anew."""


class Replayed(msgspec.Struct, frozen=True):
    """The fate of the changes so far, in one sink."""

    changes: int = 0
    outcomes: dict[str, int] = {}
    """How many ended in each outcome, by its name in small letters."""
    reached_micros: int | None = None
    """When the last of them was made, in microseconds since 1970; None if it does not say."""

    @property
    def applied(self) -> int:
        """How many were written."""
        return self.outcomes.get("applied", 0)

    @property
    def superseded(self) -> int:
        """How many the sink held something newer for."""
        return self.outcomes.get("superseded", 0)

    @property
    def skipped(self) -> int:
        """How many nothing asked for."""
        return self.outcomes.get("skipped", 0)

    @property
    def dead_letters(self) -> int:
        """How many were rejected, and are kept as dead letters."""
        return self.outcomes.get("rejected", 0)

    def plus(self, other: Replayed) -> Replayed:
        """With those of a later batch."""
        return Replayed(
            self.changes + other.changes,
            dict(Counter(self.outcomes) + Counter(other.outcomes)),
            self.reached_micros if other.reached_micros is None else other.reached_micros,
        )


@dataclass(frozen=True)
class BatchWriter:
    """Writes changes to sinks; a batch goes to each sink in turn, and is durable there before the next begins."""

    sinks: Mapping[str, Sink]
    """The sinks by the names that they are counted by."""
    clock: Clock
    sleep: Callable[[float], None]
    wanted: Callable[[], bool] = lambda: True
    observe: Callable[[Mapping[str, Replayed]], None] = lambda _so_far: None
    """Is told the fate of all changes so far, behind each batch."""
    most_changes: int = _MOST_CHANGES
    most_bytes: int = _MOST_BYTES
    so_far: dict[str, Replayed] = field(default_factory=dict)

    def write(self, changes: Iterable[Change]) -> Mapping[str, Replayed]:
        """Write all; what is deferred is tried again for as long as it takes. The totals of this writer, by sink.

        Raises:
            ReplayStopped: it is not wanted any more.
            SinkMisconfigured: a sink can't be written to.
            SinkUnavailable: it is unknown whether a batch is durable.
        """
        for name in self.sinks:
            self.so_far.setdefault(name, Replayed())
        for batch in self._batches(changes):
            made = next((one.created_micros for one in reversed(batch) if one.created_micros is not None), None)
            for name, sink in self.sinks.items():
                counts = Counter(type(outcome).__name__.lower() for outcome in self._settled(sink, batch))
                self.so_far[name] = self.so_far[name].plus(Replayed(len(batch), dict(counts), made))
            self.observe(self.so_far)
        return dict(self.so_far)

    def _batches(self, changes: Iterable[Change]) -> Iterator[list[Change]]:
        batch: list[Change] = []
        size = 0
        for change in changes:
            more = _size(change)
            if batch and (len(batch) >= self.most_changes or size + more > self.most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(change)
            size += more
        if batch:
            yield batch

    def _settled(self, sink: Sink, batch: Sequence[Change]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = [Deferred.untried("not tried yet")] * len(batch)
        while pending := [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Deferred)]:
            if not self.wanted():
                raise ReplayStopped
            deadline = Deadline.after(_SECONDS, clock=self.clock, wanted=self.wanted)
            for place, outcome in zip(pending, sink.write([batch[place] for place in pending], deadline), strict=True):
                outcomes[place] = outcome
            waits = [outcome.wait_seconds for outcome in outcomes if isinstance(outcome, Deferred)]
            if waits and self.wanted():
                self.sleep(max(_LEAST_WAIT_SECONDS, min(waits)))
        sink.flush(Deadline.after(_SECONDS, clock=self.clock))
        return outcomes


def _size(change: Change) -> int:
    """The bytes that a change takes, about: what its images hold."""
    return _BYTES_BESIDE + sum(_text_size(image) for image in (change.raw_before, change.raw_after) if image)


def _text_size(value: object) -> int:
    match value:
        case str() | bytes():
            return len(value)
        case Mapping():
            return sum(len(name) + _text_size(inner) for name, inner in value.items())
        case list() | tuple() | set() | frozenset():
            return sum(map(_text_size, value))
    return 8
