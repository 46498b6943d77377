"""ReadMissingImage(sink): changes whose records carry no new image are completed by the item as it stands now."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkUnavailable
from cdc.item_reader import ItemReader
from cdc.outcome import Deferred, Outcome, Superseded
from cdc.records.attributes import RawItem
from cdc.records.change import Change, Operation, ParsedImages
from cdc.sinks import Sink

__all__ = ["ReadMissingImage"]


class ReadMissingImage(SinkWrapper):
    """A sink for streams of any view: with OLD_IMAGE or KEYS_ONLY the item is read back, and written at the record's
    version.

    What is read may be newer than the record; the record of that newer state comes later, and the final state is the
    same. An item that is gone by now leaves the documents that it had before this change: its REMOVE, which will come,
    may have had others. A new item that is gone by now had none: Superseded.
    """

    def __init__(self, sink: Sink, items: ItemReader) -> None:
        super().__init__(sink)
        self._items = items

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write; what can't be read yet is Deferred."""
        lacking = [position for position, change in enumerate(changes) if _lacks_image(change)]
        if not lacking:
            return self.sink.write(changes, deadline)
        completed: list[Change | Outcome] = list(changes)
        for table in {changes[position].table for position in lacking}:
            positions = [position for position in lacking if changes[position].table == table]
            for position, found in zip(positions, self._read(table, changes, positions, deadline), strict=True):
                completed[position] = found
        known = [entry for entry in completed if isinstance(entry, Change)]
        written = iter(self.sink.write(known, deadline) if known else ())
        return [next(written) if isinstance(entry, Change) else entry for entry in completed]

    def _read(
        self, table: str, changes: Sequence[Change], positions: Sequence[int], deadline: Deadline
    ) -> Sequence[Change | Outcome]:
        try:
            found = self._items.read(table, [changes[position].raw_keys for position in positions], deadline)
        except SinkUnavailable as error:
            return [Deferred(error.cause, error.wait_seconds)] * len(positions)
        return [_completed(changes[position], item) for position, item in zip(positions, found, strict=True)]


def _completed(change: Change, item: RawItem | None) -> Change | Outcome:
    if item is not None:
        images = ParsedImages(change.raw_keys, change.raw_before, item, change.record)
        return replace(change, images=images)
    if change.operation is Operation.INSERT:
        return Superseded(explained=True)
    return replace(change, operation=Operation.REMOVE)


def _lacks_image(change: Change) -> bool:
    return change.operation is not Operation.REMOVE and not change.has_after
