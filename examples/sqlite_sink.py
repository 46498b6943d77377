"""A sink of your own: the newest state of every item, in a SQLite file."""

import json
import sqlite3
from collections.abc import Sequence

from cdc import (
    Applied,
    Cause,
    CauseKind,
    Change,
    Deadline,
    Deferred,
    MalformedRecord,
    Outcome,
    Rejected,
    SinkMisconfigured,
    Superseded,
)
from cdc.records.attributes import encode_item

_TABLE = "CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, version INTEGER NOT NULL, item TEXT)"
_UPSERT = """
    INSERT INTO items VALUES (?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET version = excluded.version, item = excluded.item
    WHERE excluded.version >= items.version
"""


class SqliteSink:
    """Keeps a row for each item. A removed item's row keeps its version, so that no older change brings it back."""

    name = "sqlite"

    def __init__(self, path: str) -> None:
        try:
            # calls come one at a time, but not always from the same thread
            self._db = sqlite3.connect(path, timeout=5, check_same_thread=False)
            with self._db:
                self._db.execute(_TABLE)
        except sqlite3.Error as error:
            raise SinkMisconfigured(self.name, f"{path} can't be opened: {error}", remedy="Check the path.") from error

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write all changes in one transaction, or none."""
        try:
            with self._db:  # commits, or rolls back if something is raised
                return [self._apply(change) for change in changes]
        except sqlite3.OperationalError as error:  # locked, or the disk is full: that may pass
            cause = Cause(f"sqlite: {error}", CauseKind.OVERLOADED)
            return [Deferred(cause, wait_seconds=1.0) for _ in changes]

    def _apply(self, change: Change) -> Outcome:
        key = f"{change.table} {change.identity.digest}"
        try:
            item = None if change.after is None else json.dumps(encode_item(change.after))
        except MalformedRecord as error:  # this change only: the others are written
            return Rejected(Cause("the item can't be read", CauseKind.UNREADABLE_ITEM), str(error))
        done = self._db.execute(_UPSERT, (key, change.version, item))
        return Applied() if done.rowcount else Superseded()

    def flush(self, deadline: Deadline) -> None:
        """Nothing to do: `write` has committed."""

    def close(self) -> None:
        """Close the file."""
        self._db.close()
