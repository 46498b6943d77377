"""Ties: changes of one item with equal versions, which OpenSearch can't order, put in order by their places."""

from __future__ import annotations

from cdc.mappings.writes import Write
from cdc.records.change import Change

__all__ = ["Ties"]

_Key = tuple[str, str, str | None]
_Place = tuple[int, int]


class Ties:
    """Remembers the last place in the stream of the documents that were written lately.

    External versions let a write of an equal version pass, so that a replay is no conflict. So a replay of the first of
    two changes with equal versions would bring back what the second has replaced. It does not while it is remembered
    here: of `most` documents at least, and of twice as many at most.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._recent: dict[_Key, _Place] = {}
        self._older: dict[_Key, _Place] = {}

    def overtaken(self, write: Write, change: Change) -> bool:
        """Has a later change of this version been written to the document? Then this one must not be."""
        version, sequence = self._last(write)
        return version == write.version and change.sequence.value < sequence and not change.redriven

    def follows(self, write: Write, change: Change) -> bool:
        """Is it another change than the last one of the document, and of an equal version?

        A Kinesis record that is delivered twice has another place each time, so places tell nothing there.
        """
        version, sequence = self._last(write)
        return version == write.version and change.sequence.value > sequence and change.stream.minute is not None

    def written(self, write: Write, change: Change) -> None:
        """Remember a change whose write needs no repetition."""
        version, sequence = self._last(write)
        if version <= write.version and not change.redriven:
            place = change.sequence.value
            self._recent[_key(write)] = (write.version, place if version < write.version else max(sequence, place))
            if len(self._recent) >= self._most:
                self._older, self._recent = self._recent, {}

    def _last(self, write: Write) -> _Place:
        key = _key(write)
        return self._recent.get(key) or self._older.get(key) or (-1, -1)


def _key(write: Write) -> _Key:
    return write.index, write.id, write.routing
