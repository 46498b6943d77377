"""A unit of a load: pages are read, written below every change, and recorded as done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace

from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.loads.changes import change_of_item, keys_of, loaded_version, must_be_consistent
from cdc.loads.deployment import Deployment
from cdc.loads.pace import Pace
from cdc.loads.plan import Cursor, Unit
from cdc.loads.table import Page
from cdc.outcome import Deferred, Outcome
from cdc.records.change import Change
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.verification.patience import patiently

__all__ = ["HELD_SECONDS", "LoadStopped", "PageDone", "PageReader", "ScanPages", "UnitLoader"]

HELD_SECONDS = 120.0
"""A page that could not be written for this long is read again: OpenSearch may have forgotten deletes meanwhile."""
_TRIES_OF_A_REFUSED_PAGE = 3
_OF_THE_INDEX = frozenset(
    {CauseKind.INDEX_UNAVAILABLE, CauseKind.INDEX_VANISHED, CauseKind.REJECTED_IN_MASSES, CauseKind.STRANGE_ANSWER}
)
"""Causes that a person has to mend: waiting on for hours would hide them."""


class LoadStopped(Exception):
    """Somebody asked the load to stop; it can be taken up again."""


@dataclass(frozen=True, slots=True)
class PageDone:
    """A page's items are settled and durable."""

    unit: str
    items: int
    read_units: float
    outcomes: Counter[str] = field(default_factory=Counter)
    read_seconds: float = 0.0
    """How long the page was waited for, pacing included."""
    write_seconds: float = 0.0
    """How long its documents took."""
    allowed_units: float | None = None
    """Read units a second that are allowed now; None: no limit."""


class PageReader(Protocol):
    """Reads the pages of a unit."""

    def page(self, unit: Unit, cursor: Cursor) -> Page:
        """The page behind the cursor.

        Raises:
            ConfigError: it can't be read, and a retry can't help.
            LoadStopped: it is not wanted any more.
            SinkUnavailable: it is refused, or has been out of reach for ten minutes.
        """
        ...

    def beyond(self, cursor: Cursor, page: Page) -> Cursor:
        """The cursor behind a page; `done` if it was the last."""
        ...

    @property
    def allowed_units(self) -> float | None:
        """Read units a second that are allowed now; None: no limit."""
        ...

    def has_aged(self, page: Page) -> bool:
        """Was the page read so long ago that it has to be read again before it is written?"""
        ...


@dataclass(frozen=True)
class ScanPages:
    """The pages of a segment, read by Scan at a pace."""

    deployment: Deployment
    table: str
    stream: Stream
    pace: Pace
    wanted: Callable[[], bool]

    def page(self, unit: Unit, cursor: Cursor) -> Page:
        """See `PageReader.page`; a read that is throttled is asked for again, for as long as it takes.

        Raises:
            LoadStopped: it is not wanted any more.
            SinkUnavailable: the table refuses, or it has been out of reach for ten minutes.
        """

        def read() -> Page:
            self.pace.wait(self.wanted)
            if not self.wanted():
                raise LoadStopped
            page = self.deployment.pages.page(
                self.table,
                unit.segment,
                unit.segments,
                cursor.after,
                consistent=must_be_consistent(self.stream, self.deployment.now()),
            )
            self.pace.spent(page.read_units)
            return page

        return patiently(self.deployment, read, self.pace.throttled)

    def beyond(self, cursor: Cursor, page: Page) -> Cursor:
        """See `PageReader.beyond`."""
        return replace(cursor, after=page.after, done=page.after is None)

    @property
    def allowed_units(self) -> float | None:
        """See `PageReader.allowed_units`."""
        return self.pace.limit

    def has_aged(self, page: Page) -> bool:
        """See `PageReader.has_aged`: OpenSearch may forget deletes while a page is held back."""
        return self.deployment.now() - page.began_micros / 1_000_000 > HELD_SECONDS


@dataclass(frozen=True)
class UnitLoader:
    """Loads units, one at a time; each worker has its own, since a sink is used by one thread."""

    deployment: Deployment
    pages: PageReader
    sink: Sink
    stream: Stream
    keys: Sequence[str]
    save: Callable[[Cursor], None]
    wanted: Callable[[], bool] = lambda: True
    held_seconds: float = HELD_SECONDS

    def load(self, unit: Unit, cursor: Cursor) -> Iterator[PageDone]:
        """Load what the cursor leaves; each page's items are durable, and the cursor behind them is recorded, when it
        is given.

        Raises:
            LoadStopped: it is not wanted any more.
            ConfigError: the table can't be read, or the index refuses what is written.
            SinkMisconfigured: the index can't be written to.
            SinkUnavailable: the table has been out of reach for ten minutes.
        """
        while not cursor.done:
            cursor, done = self._next(unit, cursor)
            yield done

    def _next(self, unit: Unit, cursor: Cursor) -> tuple[Cursor, PageDone]:
        """Load one page. Its items are let go before the next page is read."""
        began = self.deployment.clock()
        page, outcomes, read_at = self._written(unit, cursor)
        counts = Counter(type(outcome).__name__.lower() for outcome in outcomes)
        self.sink.flush(self._deadline())
        cursor = self.pages.beyond(cursor, page)
        cursor = replace(
            cursor,
            items=cursor.items + len(page.items),
            outcomes=dict(Counter(cursor.outcomes) + counts),
            read_units=cursor.read_units + page.read_units,
            first_read=page.began_micros if cursor.first_read is None else cursor.first_read,
            last_read=page.began_micros,
        )
        self.save(cursor)
        done = self.deployment.clock()
        return cursor, PageDone(
            unit.name,
            len(page.items),
            page.read_units,
            counts,
            read_at - began,
            done - read_at,
            self.pages.allowed_units,
        )

    def _deadline(self) -> Deadline:
        return Deadline.after(self.held_seconds, clock=self.deployment.clock, wanted=self.wanted)

    def _written(self, unit: Unit, cursor: Cursor) -> tuple[Page, Sequence[Outcome], float]:
        """A page, what became of its items, and when it was there. One that is held for too long is read again
        before it is written."""
        refused = 0
        while True:
            page = self.pages.page(unit, cursor)
            if self.pages.has_aged(page):
                continue
            read_at = self.deployment.clock()
            outcomes = self._until_settled(self._changes(page))
            deferred = [outcome for outcome in outcomes if isinstance(outcome, Deferred)]
            if not deferred:
                return page, outcomes, read_at
            if not self.wanted():
                raise LoadStopped
            cause = next((one.cause for one in deferred if one.tried), deferred[0].cause)
            refused += cause.kind in _OF_THE_INDEX
            if refused >= _TRIES_OF_A_REFUSED_PAGE:
                raise ConfigError(
                    f"the load stands still: {cause}",
                    remedy=f"{cause.remedy} Then take it up again: cdc backfill resume --table {self.stream.table}",
                )

    def _changes(self, page: Page) -> list[Change]:
        version = loaded_version(self.stream, page.began_micros)
        micros = page.began_micros if self.stream.minute is None else None
        return [
            change_of_item(item, keys_of(item, self.keys), self.stream, version=version, micros=micros)
            for item in page.items
        ]

    def _until_settled(self, changes: Sequence[Change]) -> Sequence[Outcome]:
        """The outcomes once all are settled, or the page is held for too long."""
        deadline = self._deadline()
        outcomes: list[Outcome] = [Deferred.untried("not tried yet")] * len(changes)
        while True:
            pending = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Deferred)]
            if not pending:
                return outcomes
            written = self.sink.write([changes[place] for place in pending], deadline)
            for place, outcome in zip(pending, written, strict=True):
                outcomes[place] = outcome
            waits = [outcome.wait_seconds for outcome in outcomes if isinstance(outcome, Deferred)]
            if not waits:
                return outcomes
            if deadline.remaining_seconds <= max(0.1, min(waits)):
                return outcomes
            self.deployment.sleep(max(0.1, min(waits)))
