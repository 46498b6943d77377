"""Embedded metrics: what an invocation did, as lines of its log that CloudWatch makes metrics of.

AWS, "Specification: Embedded metric format": a line is one JSON object, and each of its dimensions has one value in it.
So there is a line for the table and one for each sink, written together when the invocation ends.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, assert_never

import orjson

from cdc.observer import (
    ArchivedObject,
    BatchReceived,
    ChangesSettled,
    DeadLettered,
    Event,
    Flushed,
    LeftForLater,
    RecordsSettled,
    Retried,
    SetAside,
    VersionsTied,
    WriteTimed,
    Wrote,
)

if TYPE_CHECKING:
    from cdc.verification.audit import AuditFigure

__all__ = ["AUDIT_METRICS", "REDRIVE_METRICS", "SINK_METRICS", "TABLE_METRICS", "EmbeddedMetrics"]

_COUNT, _BYTES, _MILLISECONDS = "Count", "Bytes", "Milliseconds"
_MOST_VALUES = 100  # of one metric in a line, as the specification has it

TABLE_METRICS: Mapping[str, str] = {
    "Records": _COUNT,
    "Settled": _COUNT,
    "Bytes": _BYTES,
    "LeftByCore": _COUNT,
    "Inserts": _COUNT,
    "Modifies": _COUNT,
    "Removes": _COUNT,
    "IteratorAge": _MILLISECONDS,
    "BatchTime": _MILLISECONDS,
    "DeadLetters": _COUNT,
    "ArchiveObjects": _COUNT,
    "ArchiveBytes": _BYTES,
    "VersionTies": _COUNT,
    "SetAside": _COUNT,
}
"""Metrics with the dimension `Table`, each with its unit."""

SINK_METRICS: Mapping[str, str] = {
    "Applied": _COUNT,
    "Superseded": _COUNT,
    "Skipped": _COUNT,
    "Deferred": _COUNT,
    "Rejected": _COUNT,
    "Retries": _COUNT,
    "DeadLetters": _COUNT,
    "WriteTime": _MILLISECONDS,
    "FlushTime": _MILLISECONDS,
}
"""Metrics with the dimensions `Table` and `Sink`, each with its unit."""

REDRIVE_METRICS: Mapping[str, str] = {"Redriven": _COUNT, "Kept": _COUNT}
"""Metrics of the redrive's messages; they have no dimension."""

AUDIT_METRICS: Mapping[str, str] = {
    "AuditChecked": _COUNT,
    "AuditMissing": _COUNT,
    "AuditGhosts": _COUNT,
    "AuditStale": _COUNT,
    "AuditForeign": _COUNT,
    "AuditShape": _COUNT,
    "AuditKept": _COUNT,
    "AuditRepaired": _COUNT,
    "AuditDrift": _COUNT,
    "AuditDriftUpper": _COUNT,
    "AuditReadUnits": _COUNT,
}
"""Metrics of an audit with the dimension `Table`, each with its unit."""

_CLASSES = {
    "missing": "AuditMissing",
    "ghost": "AuditGhosts",
    "stale": "AuditStale",
    "foreign": "AuditForeign",
    "shape": "AuditShape",
    "kept": "AuditKept",
}
_OPERATIONS = {"INSERT": "Inserts", "MODIFY": "Modifies", "REMOVE": "Removes"}
_OUTCOMES = {"applied": "Applied", "superseded": "Superseded", "skipped": "Skipped", "rejected": "Rejected"}


@dataclass
class _Told:
    """Counts and times of the invocation that runs."""

    counts: Counter[str] = field(default_factory=Counter)
    sinks: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    times: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    """In milliseconds, by sink (none: the table's) and metric."""
    aside: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Fields that were set aside, by index and name."""
    redrive: Counter[str] | None = None
    audits: list[AuditFigure] = field(default_factory=list)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class EmbeddedMetrics:
    """An observer of one invocation after the other."""

    def __init__(
        self,
        namespace: str,
        *,
        now: Callable[[], float] = time.time,
        write: Callable[[str], object] = _print,
    ) -> None:
        self._namespace = namespace
        self._now = now
        self._write = write
        self._told = _Told()

    @contextmanager
    def invocation(self, table: str) -> Iterator[None]:
        """Collect the events of one invocation, and write them at its end, also after an error. `table`: the stream's
        table; for a Kinesis stream its own name; empty for a redrive."""
        self._told = _Told()
        try:
            yield
        finally:
            self._write("".join(self._lines(table)))

    def _lines(self, table: str) -> Iterator[str]:
        told = self._told
        if table:
            yield self._line({"Table": table}, TABLE_METRICS, told.counts, "")
            for sink in sorted({*told.sinks, *(sink for sink, _ in told.times if sink)}):
                yield self._line({"Table": table, "Sink": sink}, SINK_METRICS, told.sinks[sink], sink)
        if told.redrive is not None:
            yield self._line({}, REDRIVE_METRICS, told.redrive, "")
        for figure in told.audits:
            yield self._line({"Table": figure.table}, AUDIT_METRICS, _of_audit(figure), "")

    def _line(
        self, about: Mapping[str, str], metrics: Mapping[str, str], counts: Mapping[str, float], sink: str
    ) -> str:
        values: dict[str, Any] = {}
        for name, unit in metrics.items():
            if unit == _MILLISECONDS:
                times = self._told.times.get((sink, name), [])[:_MOST_VALUES]
                if times:
                    values[name] = times[0] if len(times) == 1 else times
            else:
                values[name] = counts[name]
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [list(about)],
            "Metrics": [{"Name": name, "Unit": metrics[name]} for name in values],
        }
        head = {"Timestamp": round(self._now() * 1000), "CloudWatchMetrics": [directive]}
        more = {"SetAsideNames": self._told.aside} if "SetAside" in metrics and self._told.aside else {}
        return orjson.dumps({"_aws": head, **about, **values, **more}).decode() + "\n"

    def messages(self, redriven: int, kept: int) -> None:
        """Count the messages of a redrive: those that were redriven, and those that the queue keeps."""
        self._told.redrive = Counter(Redriven=redriven, Kept=kept)

    def audited(self, figure: AuditFigure) -> None:
        """Tell what an audit of this invocation has found."""
        self._told.audits.append(figure)

    def __call__(self, event: Event) -> None:  # noqa: PLR0912  (a table of cases)
        """Count an event of the invocation that runs."""
        counts, sinks = self._told.counts, self._told.sinks
        match event:
            case BatchReceived(_, records, oldest_seconds):
                counts["Records"] += records
                self._time("", "IteratorAge", oldest_seconds)
            case RecordsSettled(_, records, seconds, size_bytes, left_by_core):
                counts.update(Settled=records, Bytes=size_bytes, LeftByCore=left_by_core)
                self._time("", "BatchTime", seconds)
            case ChangesSettled(_, operation, count):
                counts[_OPERATIONS[operation]] += count
            case Wrote(sink, outcomes):
                sinks[sink].update({_OUTCOMES[name]: count for name, count in outcomes.items()})
            case LeftForLater(sink, changes):
                sinks[sink]["Deferred"] += changes
            case WriteTimed(sink, seconds):
                self._time(sink, "WriteTime", seconds)
            case Retried(sink):
                sinks[sink]["Retries"] += 1
            case DeadLettered(sink):
                counts["DeadLetters"] += 1
                sinks[sink]["DeadLetters"] += 1
            case ArchivedObject(size_bytes):
                counts.update(ArchiveObjects=1, ArchiveBytes=size_bytes)
            case VersionsTied():
                counts["VersionTies"] += 1
            case SetAside(index, name):
                counts["SetAside"] += 1
                self._told.aside[index][name] += 1
            case Flushed(sink, seconds):
                self._time(sink, "FlushTime", seconds)
            case _:
                assert_never(event)

    def _time(self, sink: str, metric: str, seconds: float) -> None:
        self._told.times[sink, metric].append(round(seconds * 1000, 3))


def _of_audit(figure: AuditFigure) -> Mapping[str, float]:
    return {
        "AuditChecked": figure.checked,
        **{name: figure.counts.get(kind, 0) for kind, name in _CLASSES.items()},
        "AuditRepaired": sum(figure.repaired.values()),
        "AuditDrift": figure.drift.ppm,
        "AuditDriftUpper": figure.drift.upper_ppm,
        "AuditReadUnits": figure.read_units,
    }
