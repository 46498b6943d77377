"""Selection: which dead letters are meant, and finding them in a store."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from cdc.dead_letters.letter import DeadLetter, name_of_index
from cdc.dead_letters.store import LetterStore
from cdc.errors import MalformedRecord

__all__ = ["Selection", "selected"]

log = logging.getLogger(__name__)

_WORKERS = 8
_PART = 64
"""Letters that are held at once: each may be as large as an item's two images."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Letters that fit all that is given.

    `document`: an index, be it that of the mapping or a concrete one, or index/id. `reason`: a part of it, whatever its
    case. `since` is included, `until` is not.
    """

    table: str | None = None
    sink: str | None = None
    document: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Is the letter meant?"""
        kept_at = datetime.fromisoformat(letter.kept_at)
        kept_at = kept_at if kept_at.tzinfo else kept_at.replace(tzinfo=UTC)
        return (
            self.table in (None, letter.table)
            and self.sink in (None, letter.sink)
            and self.document in (None, letter.document, letter.index, name_of_index(letter.index))
            and (self.reason is None or self.reason.lower() in letter.reason.lower())
            and (self.since is None or self.since <= kept_at)
            and (self.until is None or kept_at < self.until)
        )


def selected(store: LetterStore, selection: Selection) -> Iterator[tuple[str, DeadLetter]]:
    """The letters of a selection with their keys: those of a stream by sequence number. Some are read at once.

    Raises:
        SinkUnavailable: the store does not answer.
    """

    def read(key: str) -> DeadLetter | None:
        try:
            return store.read(key)
        except MalformedRecord as error:
            log.warning("%s is left out: %s", key, error.message)
            return None

    keys = iter(sorted(store.keys(selection.table), key=_naturally))
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="dead-letters") as pool:
        while part := list(islice(keys, _PART)):
            for key, letter in zip(part, pool.map(read, part), strict=True):
                if letter is not None and selection.takes(letter):
                    yield key, letter


def _naturally(key: str) -> list[tuple[int, str]]:
    """Numbers in names as numbers: functions get the letters of an item in the order of its changes."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"([0-9]+)", key)]
