"""The progress of a verification on standard error: a bar at a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from cdc.duration import spoken
from cdc.loads.price import dollars_of_read_units, read_units_of_scan
from cdc.loads.table import SourceTable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from cdc.verification.reading import VerificationProgress

__all__ = ["VerifyScreen"]

_LINE_SECONDS = 5.0
_LEAST_UNITS = 0.5
"""A read costs so much at least, if eventually consistent."""


class VerifyScreen:
    """Shows a verification as it goes on. Several threads may tell it."""

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock
        self._lock = Lock()
        self._began = self._told = clock()
        self._total = 0
        self._progress: VerificationProgress | None = None
        self._live = Live(console=self._console, transient=True, get_renderable=self._drawn)

    def __enter__(self) -> VerifyScreen:
        self._began = self._told = self._clock()
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def price(self, source: SourceTable, sample: int | None) -> None:
        """Say what there is to read, and its price."""
        units = read_units_of_scan(source.size_bytes)
        self._total = source.item_count
        read = f"about {source.item_count:,} items, {_size(source.size_bytes)}"
        if sample is not None and sample < source.item_count:
            self._total = sample
            units = min(units, sample * max(_LEAST_UNITS, units / source.item_count))
            read = f"{sample:,} of {read}"
        self._say(
            f"{source.name}: {read}; about {units:,.0f} read units, ${dollars_of_read_units(units):,.4f} on demand "
            "(DynamoDB's figures are up to 6 hours old)"
        )

    def observe(self, progress: VerificationProgress) -> None:
        """Take how far it is."""
        with self._lock:
            self._progress = progress
            now = self._clock()
            if self._console.is_terminal or now - self._told < _LINE_SECONDS:
                return
            self._told = now
        self._say(self._facts(progress))

    def _facts(self, progress: VerificationProgress) -> str:
        seconds = max(self._clock() - self._began, 0.001)
        facts = [
            f"{progress.items:,} items and {progress.documents:,} documents read",
            f"{progress.items / seconds:,.0f} items/s",
            f"{progress.looked_at:,} looked at again",
            f"{progress.read_units:,.1f} read units",
            f"${dollars_of_read_units(progress.read_units):,.4f}",
        ]
        if 0 < progress.items < self._total:
            facts.append(f"{spoken((self._total - progress.items) * seconds / progress.items)} left")
        return ", ".join(facts)

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        progress = self._progress
        if progress is None:
            return Text("reading …")
        bar = ProgressBar(total=self._total or None, completed=min(progress.items, self._total), width=40)
        return Group(bar, Text(self._facts(progress), style="dim"))

    def _say(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text, overflow="fold"), soft_wrap=not self._console.is_terminal)


def _size(size_bytes: int) -> str:
    """A size in the largest unit of which it has one at least."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
