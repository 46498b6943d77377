"""Replay: archived changes, each once, in the order of each item, as changes that sinks take again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from cdc.archive import ArchivedChange, read_archive
from cdc.deadline import Deadline
from cdc.errors import MalformedRecord
from cdc.loads.deployment import ArchivePlace
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import ArchiveRule, split_path
from cdc.outcome import Deferred
from cdc.records.change import Change, Operation, StreamView, Wire
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream
from cdc.sinks import Sink

__all__ = [
    "ReplayStopped",
    "Replayed",
    "as_key_only",
    "change_of_line",
    "changes_between",
    "excluded_from_archive",
    "replay",
]

_BATCH = 500
_SECONDS = 60.0
_LEAST_WAIT_SECONDS = 0.1


class ReplayStopped(Exception):
    """Somebody asked the replay to stop; it may begin anew."""


class Replayed(msgspec.Struct, frozen=True):
    """What became of the changes so far."""

    changes: int = 0
    outcomes: dict[str, int] = {}
    """How many ended in each outcome, by its name."""

    def plus(self, changes: int, outcomes: Counter[str]) -> Replayed:
        """With those of another batch."""
        return Replayed(self.changes + changes, dict(Counter(self.outcomes) + outcomes))


def changes_between(
    place: ArchivePlace, table: str, since: datetime, until: datetime | None = None
) -> Iterator[Change]:
    """The table's archived changes since a moment, and before another, each once, those of each item in their order.

    A change whose record has no time is among them. Objects are read one at a time.

    Raises:
        MalformedRecord: the archive holds what is none of it.
        SinkUnavailable: the archive can't be read.
    """
    first, last = _micros(since), None if until is None else _micros(until)
    for archived in read_archive(place.client, place.bucket, place.prefix, table, since=since):
        change = change_of_line(archived)
        created = change.created_micros
        if created is None or (created >= first and (last is None or created < last)):
            yield change


def change_of_line(archived: ArchivedChange) -> Change:
    """The change that a line of the archive was made of, at the version that it had, marked as redriven.

    Raises:
        MalformedRecord: the line is no whole change.
    """
    about, images = archived.document["Metadata"], archived.images
    try:
        table, arn = about["Table"]["S"], archived.stream
        stream = Stream.kinesis(arn, table) if ":kinesis:" in arn else Stream.dynamodb(arn)
        created = about.get("WriteTimestampMicros")
        return Change(
            operation=Operation(about["Operation"]["S"]),
            stream=stream,
            sequence=SequenceNumber.parse(archived.sequence, KINESIS_DIGITS),
            view=StreamView(about["View"]["S"]),
            raw_keys=images["Keys"],
            raw_before=images.get("OldImage"),
            raw_after=images.get("NewImage"),
            created_micros=None if created is None else int(created["N"]),
            expired=about["Expired"]["BOOL"],
            event_id=about["EventId"]["S"],
            record=_record(about, images, archived.sequence, stream),
            wire=Wire.KINESIS if stream.minute is None else Wire.LAMBDA,
            redriven=True,
            pinned_version=int(about["Version"]["N"]),
        )
    except (KeyError, ValueError) as error:
        raise MalformedRecord(f"a line of the archive can't be read as a change: {archived.identity}") from error


def _record(about: Mapping[str, Any], images: Mapping[str, Any], sequence: str, stream: Stream) -> dict[str, Any]:
    """The record as a dead letter would keep it."""
    facts: dict[str, Any] = {**images, "SequenceNumber": sequence, "StreamViewType": about["View"]["S"]}
    record: dict[str, Any] = {"eventName": about["Operation"]["S"], "dynamodb": facts, "source": "replay"}
    created = about.get("WriteTimestampMicros")
    if stream.minute is None:
        facts |= {"ApproximateCreationDateTimePrecision": "MICROSECOND"}
        return {**record, "tableName": stream.table, "dynamodb": facts | _time(created, 1)}
    facts |= _time(created, 1_000_000)
    return {**record, "eventSource": "aws:dynamodb", "eventSourceARN": stream.arn}


def _time(created: Mapping[str, str] | None, micros_per_unit: int) -> dict[str, Any]:
    return {} if created is None else {"ApproximateCreationDateTime": int(created["N"]) // micros_per_unit}


def excluded_from_archive(compiled: CompiledMapping) -> Sequence[tuple[str, ...]]:
    """The paths of attributes that archived lines lack."""
    rule = compiled.mapping.archive
    return tuple(map(split_path, rule.exclude)) if isinstance(rule, ArchiveRule) else ()


@dataclass(frozen=True)
class _Batches:
    changes: Iterator[Change]

    def __iter__(self) -> Iterator[list[Change]]:
        while batch := list(islice(self.changes, _BATCH)):
            yield batch


def replay(
    changes: Iterator[Change],
    sink: Sink,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    wanted: Callable[[], bool] = lambda: True,
    observe: Callable[[Replayed], None] = lambda _so_far: None,
) -> Replayed:
    """Write changes to a sink, batch after batch; what is deferred is tried again, for as long as it takes.

    Raises:
        ReplayStopped: it is not wanted any more.
        SinkMisconfigured: the sink can't be written to.
        SinkUnavailable: it is unknown whether a batch is durable.
    """
    so_far = Replayed()
    for batch in _Batches(changes):
        counts: Counter[str] = Counter()
        pending = batch
        while pending:
            if not wanted():
                raise ReplayStopped
            deadline = Deadline.after(_SECONDS, clock=clock, wanted=wanted)
            outcomes = sink.write(pending, deadline)
            deferred = [outcome for outcome in outcomes if isinstance(outcome, Deferred)]
            counts.update(type(one).__name__.lower() for one in outcomes if not isinstance(one, Deferred))
            pending = [one for one, outcome in zip(pending, outcomes, strict=True) if isinstance(outcome, Deferred)]
            if deferred:
                sleep(max(_LEAST_WAIT_SECONDS, min(outcome.wait_seconds for outcome in deferred)))
        sink.flush(Deadline.after(_SECONDS, clock=clock))
        so_far = so_far.plus(len(batch), counts)
        observe(so_far)
    return so_far


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def as_key_only(change: Change) -> Change:
    """The change as a stream of keys would tell it: its item is read from the table."""
    return replace(change, view=StreamView.KEYS_ONLY, raw_before=None, raw_after=None)
