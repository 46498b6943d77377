"""Pages of an export's data files, as a load reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from msgspec.structs import replace

from cdc.errors import SinkUnavailable
from cdc.loads.deployment import Deployment
from cdc.loads.plan import Cursor, Unit
from cdc.loads.table import Page
from cdc.loads.unit import LoadStopped
from cdc.records.attributes import RawItem
from cdc.verification.patience import patiently

__all__ = ["ExportPages"]

_ITEMS = 1000


@dataclass
class ExportPages:
    """Gives the items of data files a thousand at a time. Used by one thread; a page may be asked for again."""

    deployment: Deployment
    items_of: Callable[[str], Iterator[RawItem]]
    """The items of a data file, by its key."""
    exported_micros: int
    """The moment that the export shows, in microseconds since 1970."""
    wanted: Callable[[], bool] = lambda: True
    _at: tuple[str, int] | None = None
    _items: Iterator[RawItem] | None = None
    _page: Page | None = None

    def page(self, unit: Unit, cursor: Cursor) -> Page:
        """See `PageReader.page`."""

        def read() -> Page:
            if not self.wanted():
                raise LoadStopped
            try:
                return self._page_at(unit, cursor)
            except SinkUnavailable:
                self._items = None
                raise

        return patiently(self.deployment, read)

    def _page_at(self, unit: Unit, cursor: Cursor) -> Page:
        place = unit.file, cursor.lines
        if self._page is not None and self._at == place:
            return self._page
        is_next = self._page is not None and self._at == (unit.file, cursor.lines - len(self._page.items))
        if self._items is None or not is_next:
            self._items = islice(self.items_of(unit.file), cursor.lines, None)
        items = list(islice(self._items, _ITEMS))
        self._at, self._page = place, Page(items, None, 0.0, self.exported_micros)
        return self._page

    def beyond(self, cursor: Cursor, page: Page) -> Cursor:
        """See `PageReader.beyond`."""
        return replace(cursor, lines=cursor.lines + len(page.items), done=len(page.items) < _ITEMS)

    @property
    def allowed_units(self) -> float | None:
        """See `PageReader.allowed_units`: an export costs the table nothing."""
        return None

    def has_aged(self, page: Page) -> bool:
        """See `PageReader.has_aged`: read again, an export shows the same."""
        return False
