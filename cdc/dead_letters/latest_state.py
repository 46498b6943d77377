"""WriteLatestState(sink): writes the item's current state from the table instead of the image in the change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import MalformedRecord, SinkUnavailable
from cdc.item_reader import ItemReader
from cdc.outcome import Applied, Deferred, Outcome
from cdc.records.attributes import RawItem
from cdc.records.change import Change, Operation, ParsedImages, StreamView, raw_differences
from cdc.records.stream import Stream
from cdc.sinks import Sink

__all__ = ["TableCheck", "WriteLatestState"]

log = logging.getLogger(__name__)

TableCheck = Callable[[Stream], None]
"""Raises SinkUnavailable if the table of that name that can be read here is not the stream's."""

_RESTLESS = Deferred(Cause("the item changes faster than it can be read and written", CauseKind.RESTLESS_ITEM), 1.0)


class WriteLatestState(SinkWrapper):
    """Writes, at each late change's version, the item as it stands now in the table, or its removal if it is gone.

    1. Read the items. 2. Write them. 3. Read once more: of an item that changed meanwhile, start over. So a late write
    can't overwrite a newer state (its version is lower), and can't bring a deleted item back, even to an index that has
    forgotten the delete. With `from_letter` changes whose table is out of reach are written as they are.
    """

    def __init__(
        self, sink: Sink, items: ItemReader, check: TableCheck, *, from_letter: bool = False, rounds: int = 5
    ) -> None:
        super().__init__(sink)
        self._items = items
        self._check = check
        self._from_letter = from_letter
        self._rounds = rounds

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write; Deferred if the table can't be read, or an item changes all the time."""
        outcomes: list[Outcome] = [_RESTLESS] * len(changes)
        for origin in dict.fromkeys((change.stream, frozenset(change.raw_keys)) for change in changes):
            positions = [place for place, one in enumerate(changes) if (one.stream, frozenset(one.raw_keys)) == origin]
            written = self._of_table([changes[position] for position in positions], deadline)
            for position, outcome in zip(positions, written, strict=True):
                outcomes[position] = outcome
        return outcomes

    def _of_table(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        try:
            items = self._read(changes, deadline)
        except SinkUnavailable as error:
            if not self._from_letter:
                return [Deferred(error.cause, error.wait_seconds)] * len(changes)
            log.warning(
                "%s: %d changes are written from their letters' own images: newer states win, but an item that was "
                "deleted since may come back",
                error.message,
                len(changes),
            )
            return self.sink.write([replace(change, redriven=True) for change in changes], deadline)
        outcomes: list[Outcome] = [_RESTLESS] * len(changes)
        pending = list(range(len(changes)))
        for _ in range(self._rounds):
            standing = [_as_it_stands(changes[place], item) for place, item in zip(pending, items, strict=True)]
            seen = dict(zip(pending, items, strict=True))
            for place, outcome in zip(pending, self.sink.write(standing, deadline), strict=True):
                outcomes[place] = outcome
            written = [place for place in pending if isinstance(outcomes[place], Applied)]
            try:
                items = self._read([changes[place] for place in written], deadline)
            except SinkUnavailable as error:
                for place in written:
                    cause = error.cause.under(error.cause.kind, "written, but not read once more")
                    outcomes[place] = Deferred(cause, error.wait_seconds)
                return outcomes
            moved = [(place, item) for place, item in zip(written, items, strict=True) if not _same(seen[place], item)]
            if not moved:
                return outcomes
            pending, items = [place for place, _ in moved], [item for _, item in moved]
            for place in pending:
                outcomes[place] = _RESTLESS
        return outcomes

    def _read(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[RawItem | None]:
        if not changes:
            return []
        self._check(changes[0].stream)
        return self._items.read(changes[0].table, [change.raw_keys for change in changes], deadline)


def _as_it_stands(change: Change, item: RawItem | None) -> Change:
    """The old image is left out: what the item was when the change was made says nothing of what the sink holds."""
    return replace(
        change,
        operation=Operation.REMOVE if item is None else Operation.MODIFY,
        view=StreamView.NEW_IMAGE,
        images=ParsedImages(change.raw_keys, None, item, change.record),
        expired=change.expired and item is None,
        redriven=True,
    )


def _same(before: RawItem | None, after: RawItem | None) -> bool:
    if before is None or after is None or before == after:
        return before == after
    try:
        return not raw_differences(before, after)
    except MalformedRecord:
        return False
