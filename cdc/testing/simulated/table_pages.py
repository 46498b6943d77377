"""A simulated table read as a whole: described, and scanned in segments and pages."""

from __future__ import annotations

import random
from dataclasses import dataclass
from hashlib import blake2b

import orjson

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.table import Page, SourceTable
from cdc.records.attributes import RawItem
from cdc.records.identity import keys_digest
from cdc.records.stream import Stream
from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults
from cdc.testing.simulated.table import SimulatedTable, as_boto3_gives

__all__ = ["SimulatedPages"]

_FAULTS = {"throttled": 3.0, "503": 1.0}
_STALE = 0.5
_STALE_MICROS = 1_100_000
_SELDOM = 0.1
_LATE_MICROS = 10_000_000
"""Amazon DynamoDB Developer Guide, "DynamoDB read consistency", names no bound: "usually within one second"."""
_UNIT_BYTES = 4096


@dataclass(frozen=True)
class SimulatedPages:
    """The pages of a `SimulatedTable`, as DescribeTable and parallel Scan give them; one thread at a time.

    An item's segment follows from its keys. A page that is not asked for consistently shows the table as it stood up to
    about a second before, half of the time, and seldom up to ten. The last page of a segment may be empty, as may be
    any other.

    `most_items` bounds a page; `faults` throttle or fail requests.
    """

    table: SimulatedTable
    clock: SimulatedClock
    chance: random.Random
    faults: Faults | None = None
    most_items: int = 3

    def describe(self, table: str) -> SourceTable:
        """See `cdc.loads.table.TablePages.describe`.

        Raises:
            ConfigError: there is no such table.
            SinkUnavailable: `faults` say so.
        """
        self._asked(table)
        items, view = self.table.items, self.table.view
        return SourceTable(
            name=self.table.name,
            arn=self.table.arn,
            id=self.table.id,
            keys=self.table.keys,
            key_types=self._key_types(),
            item_count=len(items),
            size_bytes=sum(map(_size, items.values())),
            stream=None if view is None else Stream.dynamodb(self.table.stream.arn),
            view=view,
        )

    def page(
        self,
        table: str,
        segment: int,
        segments: int,
        after: RawItem | None,
        *,
        consistent: bool = False,
        limit: int = 0,
    ) -> Page:
        """See `cdc.loads.table.TablePages.page`.

        Raises:
            ConfigError: there is no such table.
            SinkUnavailable: `faults` say so.
        """
        self._asked(table)
        began = self.clock.micros
        passed = b"" if after is None else _place(keys_digest(after))
        places = sorted(
            (place, item)
            for digest, item in self._shown(consistent=consistent).items()
            if (place := _place(digest)) > passed and int.from_bytes(place[:4], "big") % segments == segment
        )
        size = min(self.chance.randint(0, self.most_items), limit or self.most_items) if places else 0
        items = [item for _, item in places[:size]]
        # as at AWS a page that ends with the last item need not know that it is the last
        is_last = size == len(places) and (not items or self.chance.random() < 0.5)
        end = items[-1] if items else after
        if not is_last and end is None:  # a page without an item says where it has come to
            items = [places[0][1]]
            end = items[0]
        following = None if is_last or end is None else {name: end[name] for name in self.table.keys}
        return Page([as_boto3_gives(item) for item in items], following, _read_units(items, consistent), began)

    def _key_types(self) -> tuple[str, ...]:
        """The types that the keys of the items have; of a table that never had one: S."""
        written = self.table.history[-1].keys if self.table.history else {}
        return tuple(next(iter(written[name])) if name in written else "S" for name in self.table.keys)

    def _shown(self, *, consistent: bool) -> dict[str, RawItem]:
        now = self.clock.micros
        if consistent or self.chance.random() < _STALE:
            return dict(self.table.items)
        try:
            longest = _LATE_MICROS if self.chance.random() < _SELDOM else _STALE_MICROS
            return self.table.items_at(now - self.chance.randint(1, longest))
        except ValueError:
            return {}  # the table is younger than that

    def _asked(self, table: str) -> None:
        if table != self.table.name or not self.table.exists:
            raise ConfigError(
                f"the table {table} can't be read: ResourceNotFoundException", remedy="Check the table's name."
            )
        kind = None if self.faults is None else self.faults.draw("table", _FAULTS)
        if kind is not None:
            overloaded = CauseKind.OVERLOADED if kind == "throttled" else CauseKind.OUT_OF_REACH
            raise SinkUnavailable("table", f"the table {table} can't be read yet: {kind}", kind=overloaded)


def _place(digest: str) -> bytes:
    """The place of an item among all, where a scan meets it: stable, and unlike the order of the keys."""
    return blake2b(digest.encode(), digest_size=12).digest()


def _size(item: RawItem) -> int:
    return len(orjson.dumps(item, default=len))


def _read_units(items: list[RawItem], consistent: bool) -> float:
    units = max(1, -(-sum(map(_size, items)) // _UNIT_BYTES))
    return float(units) if consistent else units / 2
