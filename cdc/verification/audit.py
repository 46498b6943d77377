"""Audit: random items and random documents are compared all the time; what differs is a figure that grows surer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from cdc.loads.deployment import Deployment
from cdc.records.stream import Stream
from cdc.verification.drift import Drift, drift
from cdc.verification.findings import DifferenceClass, Findings
from cdc.verification.verify import VerificationProgress, verify

__all__ = ["Audit", "AuditFigure"]


class AuditFigure(msgspec.Struct, frozen=True):
    """The sum of an audit's looks at one table. It quotes nothing of an item."""

    table: str
    since: datetime
    """When the first look began."""
    last: datetime | None = None
    """When the last look ended; None before the first."""
    looks: int = 0
    checked: int = 0
    """Documents that were judged, drawn by their items or from the index; each once a look."""
    counts: dict[str, int] = {}
    """Confirmed differences of each class, by the class's name; those that were mended as well."""
    repaired: dict[str, int] = {}
    """Those of them that were mended."""
    unsettled: int = 0
    """Documents that changed at each look: not checked."""
    untold: int = 0
    """Documents whose items neither id nor fields tell: not checked. `cdc verify` reads the table for them."""
    read_units: float = 0.0

    @property
    def differences(self) -> int:
        """All differences; those that a dead letter explains do not count."""
        return sum(count for name, count in self.counts.items() if name != DifferenceClass.KEPT)

    @property
    def left(self) -> int:
        """The differences that were not mended."""
        return self.differences - sum(self.repaired.values())

    @property
    def drift(self) -> Drift:
        """The share that differs, mended or not: what the index was when it was looked at."""
        return drift(self.checked, self.differences)

    @property
    def verdict(self) -> str:
        """One line for people."""
        found = [f"{count:,} {name}" for name, count in sorted(self.counts.items()) if count]
        mended = sum(self.repaired.values())
        return (
            f"{self.checked:,} documents checked, {', '.join(found) or 'no difference'}"
            + (f", {mended:,} mended" if mended else "")
            + f": {self.drift}"
        )

    def plus(self, findings: Findings) -> AuditFigure:
        """The figure with the findings of one more look."""
        return msgspec.structs.replace(
            self,
            last=findings.ended_at,
            looks=self.looks + 1,
            checked=self.checked + findings.equal + sum(findings.counts.values()),
            counts=dict(Counter(self.counts) + Counter(findings.counts)),
            repaired=dict(Counter(self.repaired) + Counter(findings.repaired)),
            unsettled=self.unsettled + findings.unsettled,
            untold=self.untold + findings.untold,
            read_units=self.read_units + findings.price.read_units,
        )

    def facts(self) -> dict[str, Any]:
        """The figure for machines: of plain values, with differences and drift."""
        return {
            "table": self.table,
            "since": self.since.isoformat(timespec="seconds"),
            "last": None if self.last is None else self.last.isoformat(timespec="seconds"),
            "checked": self.checked,
            "differences": self.differences,
            "counts": dict(self.counts),
            "repaired": dict(self.repaired),
            "unsettled": self.unsettled,
            "untold": self.untold,
            "drift_ppm": self.drift.ppm,
            "drift_upper_ppm": self.drift.upper_ppm,
            "read_units": self.read_units,
        }


@dataclass
class Audit:
    """Looks at random parts of a table and of its indices, as often as it is asked to, and sums up what it sees.

    One thread at a time. `observe` is told the figure after each look: by default it is the deployment's own.
    """

    deployment: Deployment
    table: str
    stream: Stream | None = None
    """Where the table's changes come from; None: its stream that is on. Kinesis has to be named."""
    repair: bool = False
    """Mend what was confirmed, at versions that are there already. It counts as a difference all the same."""
    with_content: bool = True
    max_read_units: float | None = None
    """A second."""
    seed: int | None = None
    """None: other items each time."""
    observe: Callable[[AuditFigure], None] | None = None
    figure: AuditFigure = field(init=False)
    _chance: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.figure = AuditFigure(self.table, datetime.fromtimestamp(self.deployment.now(), UTC))
        self._chance = random.Random(self.seed)  # noqa: S311  (not a secret)

    def look(
        self,
        items: int,
        *,
        settle_seconds: float = 5.0,
        progress: Callable[[VerificationProgress], None] = lambda _progress: None,
    ) -> AuditFigure:
        """Look at so many random items and as many random documents of each index; the figure with them.

        What differs is looked at twice, the second time `settle_seconds` later: longer than consumers lag behind. A
        look that fails leaves the figure as it was.

        Raises:
            ConfigError: there is no such table or index, one may not be read, or the table has no stream.
            SinkUnavailable: the table, OpenSearch or the archive has been out of reach for ten minutes.
        """
        findings = verify(
            self.deployment,
            self.table,
            stream=self.stream,
            with_content=self.with_content,
            sample=items,
            seed=self._chance.randrange(1 << 31),
            workers=1,
            max_read_units=self.max_read_units,
            settle_seconds=settle_seconds,
            repair=self.repair,
            max_repairs=None,
            scan_again=False,  # an audit costs what it takes, however large the table is
            observe=progress,
        )
        self.figure = self.figure.plus(findings)
        (self.observe or self.deployment.observe)(self.figure)
        return self.figure
