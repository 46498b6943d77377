"""Pages of an export's data files, as a load reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from msgspec.structs import replace

from cdc.loads.plan import Cursor, Unit
from cdc.loads.table import Page
from cdc.records.attributes import RawItem

__all__ = ["ExportPages"]

_ITEMS = 1000


@dataclass
class ExportPages:
    """Gives the items of data files a thousand at a time. Used by one thread; a page may be asked for again."""

    items_of: Callable[[str], Iterator[RawItem]]
    """The items of a data file, by its key."""
    exported_micros: int
    """The moment that the export shows, in microseconds since 1970."""
    _at: tuple[str, int] | None = None
    _items: Iterator[RawItem] | None = None
    _page: Page | None = None

    def page(self, unit: Unit, cursor: Cursor) -> Page:
        """See `PageReader.page`."""
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

    def has_aged(self, page: Page) -> bool:
        """See `PageReader.has_aged`: read again, an export shows the same."""
        return False
