"""Redrive: dead letters once more, each to its own sink and document, from the state the table has now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol

import msgspec

from cdc.causes import Cause
from cdc.dead_letters.latest_state import TableCheck, WriteLatestState
from cdc.dead_letters.letter import STREAM_SINK, UNREADABLE_SINK, DeadLetter, change_of_letter, name_of_index
from cdc.dead_letters.store import DeadLetterStore, LetterStore
from cdc.deadline import Deadline
from cdc.delivery.dead_lettering import DeadLettering, keep_unreadable
from cdc.delivery.retrying import Retrying
from cdc.errors import CdcError, ConfigError, MalformedRecord, SinkError, SinkUnavailable
from cdc.item_reader import ItemReader
from cdc.mappings.compiled import CompiledMapping
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped, Superseded, settled, worst
from cdc.records.change import Change
from cdc.records.decoding import Record, Unreadable
from cdc.records.stream import Stream
from cdc.sinks import Sink

__all__ = ["ARCHIVE_SINK", "INDEX_SINK", "Destinations", "Redriven", "Redriver", "Result", "StillDead"]

log = logging.getLogger(__name__)

INDEX_SINK = "opensearch"
ARCHIVE_SINK = "archive"

_NO_INDEX = "the letter is of an index, and the mapping names none"
_NO_INDEX_REMEDY = "Point CDC_MAPPINGS to the mappings of the consumer, and set CDC_OPENSEARCH_ENDPOINT."


@dataclass(frozen=True, slots=True)
class Redriven:
    """The sink shows what it should; the letter is done with."""


@dataclass(frozen=True, slots=True)
class StillDead:
    """The letter stays. `reason` is safe to log and says what to do next; `may_pass`: the same again may succeed.

    `rejected` is the new rejection, where that is why; its detail may quote the item.
    """

    reason: str
    may_pass: bool = False
    rejected: Rejected | None = None


Result = Redriven | Superseded | StillDead
"""The fate of a letter. Superseded: the sink holds a newer state, and the letter is done with."""


class Destinations(Protocol):
    """The destinations that letters can be redriven to."""

    @property
    def functions(self) -> Sink | None:
        """The user's functions, if there are any here."""
        ...

    def prepare(self, stream: Stream, keys: Sequence[str]) -> CompiledMapping:
        """The mapping of the stream's table, its indices found or made.

        Raises:
            ConfigError: no mapping names the table.
            SinkError: an index can't be found or made.
        """
        ...

    def index(self, mapping_of: Callable[[str], CompiledMapping]) -> Sink | None:
        """The index by these mappings; None if nothing is indexed."""
        ...

    def archive(self) -> Sink | None:
        """The archive with nothing in it yet; None if there is none."""
        ...


@dataclass(frozen=True)
class Redriver:
    """Writes letters once more. Safe to repeat: it neither overwrites a newer state nor brings a deleted item back.

    `letters` is where letters are read, rewritten when they are rejected again, and deleted; `dead_letters` is where a
    change goes that some sink rejects on its way. With `from_letter` a letter whose table is out of reach is written
    from its own image, which may be older than the item.
    """

    destinations: Destinations
    items: ItemReader
    letters: LetterStore
    dead_letters: DeadLetterStore
    check: TableCheck
    from_letter: bool = False
    sleep: Callable[[float], None] = time.sleep

    def redrive(self, keys: Sequence[str], deadline: Deadline) -> Iterator[tuple[str, Result]]:
        """Redrive the letters of these keys, in their order; one that is done with is deleted, once that is durable.

        Letters that go to one sink and index are written together: give some tens at a time.
        """
        for place, group in groupby([(key, self._read(key)) for key in keys], key=lambda entry: _place(entry[1])):
            entries = list(group)
            letters = [letter for _, letter in entries if isinstance(letter, DeadLetter)]
            results = self._together(place, letters, deadline)
            for key, letter in entries:
                if isinstance(letter, DeadLetter):
                    yield key, self._done(key, letter, results.pop(0))
                else:
                    yield key, letter

    def _read(self, key: str) -> DeadLetter | Result:
        try:
            letter = self.letters.read(key)
        except (SinkUnavailable, MalformedRecord) as error:
            return StillDead(str(error))
        return Superseded(explained=True) if letter is None else letter  # somebody was here before us

    def _done(self, key: str, letter: DeadLetter, outcome: Outcome | StillDead) -> Result:
        match outcome:
            case StillDead():
                return outcome
            case Deferred():
                return StillDead(f"{outcome.cause}: try again later", may_pass=True)
            case Rejected():
                self._rewrite(letter, outcome)
                return StillDead(f"rejected again: {outcome.cause}", rejected=outcome)
            case Skipped() if letter.sink not in (INDEX_SINK, UNREADABLE_SINK):
                return StillDead(f"{outcome.cause}: discard the letter if that is meant")
        try:
            self.letters.delete(key)
        except SinkUnavailable as error:
            return StillDead(f"it is done, but the letter could not be deleted: {error}")
        return outcome if isinstance(outcome, Superseded) else Redriven()

    def _rewrite(self, letter: DeadLetter, rejected: Rejected) -> None:
        """The newest reason counts; the name stays."""
        again = msgspec.structs.replace(
            letter, reason=rejected.cause.text, detail=rejected.detail, attempts=letter.attempts + 1
        )
        try:
            self.letters.keep(again)
        except SinkUnavailable as error:
            log.warning("the letter %s stays as it was: %s", letter.name, error)

    def _together(
        self, place: tuple[str, str, str], letters: Sequence[DeadLetter], deadline: Deadline
    ) -> list[Outcome | StillDead]:
        """One outcome a letter; the letters are of one sink, index and table."""
        changes: list[Change] = []
        faults: dict[int, StillDead] = {}
        for position, letter in enumerate(letters):
            if letter.sink == STREAM_SINK:
                faults[position] = StillDead(
                    f"{letter.reason}: the records are gone from the stream, there is nothing to redrive: fill the "
                    "index from the table, then discard the letter"
                )
                continue
            try:
                changes.append(change_of_letter(letter))
            except MalformedRecord as error:
                hint = "discard it, or redrive it with a release that reads it"
                faults[position] = StillDead(f"the record can't be read: {error.message}: {hint}")
        remaining = iter(self._to_sink_or_kept(place[0], place[1], changes, deadline))
        return [faults[place] if place in faults else next(remaining) for place in range(len(letters))]

    def _to_sink_or_kept(
        self, sink: str, index: str, changes: Sequence[Change], deadline: Deadline
    ) -> Sequence[Outcome | StillDead]:
        if not changes:
            return []
        try:
            return self._to_sink(sink, index, changes, deadline)
        except SinkError as error:
            return [StillDead(str(error), may_pass=True)] * len(changes)
        except CdcError as error:
            if len(changes) == 1:
                return [StillDead(str(error))]
        # it may be one letter's fault
        return [outcome for change in changes for outcome in self._to_sink_or_kept(sink, index, [change], deadline)]

    def _to_sink(self, sink: str, index: str, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        functions = self.destinations.functions
        if sink == UNREADABLE_SINK:
            return [
                Applied() if isinstance(outcome, Rejected) and outcome.kept else outcome  # it has a letter of its own
                for outcome in self.write_all(changes, deadline)
            ]
        if sink == INDEX_SINK:
            compiled = self._mapping(changes, index)
            if not all(one.bodies for one in compiled.values()):
                raise ConfigError(_NO_INDEX, remedy=_NO_INDEX_REMEDY)
            return self._written(self._index(compiled), changes, deadline)
        if sink == ARCHIVE_SINK:
            self._mapping(changes, "")
            archive = self.destinations.archive()
            if archive is None:
                raise ConfigError("the letter is of the archive, and there is none", remedy="Set CDC_ARCHIVE_BUCKET.")
            return self._written(self._retrying(archive), changes, deadline)
        if functions is not None and sink == functions.name:
            return self._written(self._retrying(functions), changes, deadline)
        raise ConfigError(
            f"the letter is of the sink {sink!r}, which is not here",
            remedy="For letters of your functions give --functions MODULE, or use redrive_handler_for.",
        )

    def write_all(self, records: Sequence[Record], deadline: Deadline) -> Sequence[Outcome]:
        """Records that no sink has seen, oldest first: archived as they are, then written to each sink as a redrive
        does. What some sink rejects is kept as a dead letter of its own.

        Raises:
            ConfigError: no mapping names the table.
            SinkUnavailable: an index can't be looked up.
        """
        changes = [msgspec.structs.replace(record, redriven=True) for record in records if isinstance(record, Change)]
        written = iter(self._all_sinks(changes, deadline) if changes else ())
        kept = iter(
            keep_unreadable([record for record in records if isinstance(record, Unreadable)], self.dead_letters)
        )
        return [next(kept) if isinstance(record, Unreadable) else next(written) for record in records]

    def _all_sinks(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """1. The archive. 2. The index. 3. The functions."""
        compiled = self._mapping(changes, "")
        columns: list[Sequence[Outcome]] = []
        archive = self.destinations.archive()
        if archive is not None:
            columns.append(self._written(self._kept(self._retrying(archive)), changes, deadline))
            if not all(map(settled, columns[0])):
                return [
                    outcome if not settled(outcome) else Deferred.untried("another change is not archived yet")
                    for outcome in columns[0]
                ]
        if any(one.bodies for one in compiled.values()):
            columns.append(self._written(self._kept(self._index(compiled)), changes, deadline))
        if (functions := self.destinations.functions) is not None:
            columns.append(self._written(self._kept(self._retrying(functions)), changes, deadline))
        return [worst(row) for row in zip(*columns, strict=True)] if columns else [Skipped()] * len(changes)

    def _mapping(self, changes: Sequence[Change], index: str) -> dict[str, CompiledMapping]:
        """The mapping of each table; of `index` alone if one is named."""
        found: dict[str, CompiledMapping] = {}
        for change in changes:
            compiled = self.destinations.prepare(change.stream, tuple(change.raw_keys))
            found[change.table] = compiled if not index else _of_index(compiled, index)
        return found

    def _index(self, compiled: dict[str, CompiledMapping]) -> Sink:
        index = self.destinations.index(compiled.__getitem__)
        if index is None:
            raise ConfigError(_NO_INDEX, remedy=_NO_INDEX_REMEDY)
        return WriteLatestState(self._retrying(index), self.items, self.check, from_letter=self.from_letter)

    def _kept(self, sink: Sink) -> Sink:
        return DeadLettering(sink, self.dead_letters)

    def _retrying(self, sink: Sink) -> Sink:
        return Retrying(sink, wait_max_seconds=5.0, sleep=self.sleep)

    def _written(self, sink: Sink, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write and flush: nothing counts as done before it is durable."""
        try:
            outcomes = sink.write(changes, deadline)
            sink.flush(deadline)
        except SinkError as error:
            cause = error.cause if isinstance(error, SinkUnavailable) else Cause(str(error))
            return [Deferred(cause)] * len(changes)
        finally:
            sink.close()
        return outcomes


def _of_index(compiled: CompiledMapping, index: str) -> CompiledMapping:
    """The mapping for one index: a name of the mapping, or a concrete index that is or was a member of one, whose
    documents go to the members of today."""
    named = index if index in compiled.bodies else name_of_index(index)
    if named not in compiled.bodies:
        raise ConfigError(
            f"no document of {compiled.mapping.source} goes to the index {index!r} any more",
            remedy="Take the index into the mapping again, or discard the letter.",
        )
    return replace(compiled, owners=tuple(owner for owner in compiled.owners if owner.index == named))


def _place(letter: DeadLetter | Result) -> tuple[str, str, str]:
    return (letter.sink, letter.index, letter.table) if isinstance(letter, DeadLetter) else ("", "", "")
