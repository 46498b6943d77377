"""Filling: the new index of a rebuild gets the documents of one table, and is proven equal to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event

import msgspec

from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import ConfigError
from cdc.loads.backfill import Backfill, BackfillResult
from cdc.loads.batches import ReplayStopped
from cdc.loads.deployment import Deployment
from cdc.loads.jobs import Jobs, Objects
from cdc.loads.plan import Plan, Unit
from cdc.loads.planning import LoadOptions
from cdc.loads.price import dollars_of_export
from cdc.loads.replay import ReplaySummary, check_whole, only_index, place_of, replay_to_index
from cdc.loads.unit import LoadStopped
from cdc.outcome import Deferred, Outcome
from cdc.rebuilds.facts import FillSource, RebuildStep, SourceKind
from cdc.rebuilds.tables import RebuiltTable
from cdc.records.change import Change
from cdc.sinks import Sink
from cdc.verification.findings import Findings

__all__ = ["Filled", "Filling"]

_LOOKS = 3
"""So often the new index is verified before the rebuild is given up: readers of a busy table may be overtaken."""
_LOST = "rejected"
_EVER = datetime(2012, 1, 1, tzinfo=UTC)
"""No change of a table is older than DynamoDB."""


@dataclass(frozen=True)
class Filled:
    """The new index as it stands behind the load of one table."""

    table: str
    items: int
    """Items, or archived changes, that were read."""
    rejected: int
    """Documents that it did not take: they are dead letters."""
    findings: Findings

    @property
    def is_proven(self) -> bool:
        """Is it equal to the table, as far as that stood still?"""
        return not self.findings.remaining and self.findings.unsettled <= self.findings.equal

    @property
    def lacking(self) -> int:
        """Documents that are missing, and that dead letters hold."""
        return max(self.rejected, self.findings.counts.get("kept", 0))


@dataclass(frozen=True)
class Filling:
    """Fills new indices. Each step may be killed, and done again."""

    deployment: Deployment
    objects: Objects
    """Those of this rebuild: plans and cursors of its loads, and the steps that it has done."""
    source: FillSource
    options: LoadOptions
    stop: Event = field(default_factory=Event)
    observe: Callable[[object], None] = lambda _fact: None

    def priced(self, table: RebuiltTable, concrete: str) -> Plan:
        """The plan of the load with its price, before anything is asked for or made.

        Raises:
            ConfigError: as `plan`.
        """
        if self.source.export_now is None:
            return self.plan(table, concrete)[0]
        plan = self._backfill(table.in_index(self.deployment, concrete)).planner.of_table(table.name)[0]
        return msgspec.structs.replace(plan, read_units=0.0, dollars=dollars_of_export(plan.size_bytes))

    def plan(self, table: RebuiltTable, concrete: str) -> tuple[Plan, Sequence[Unit]]:
        """The plan of the load, and its price. A replay of the archive has that of the verification that follows it.

        Raises:
            ConfigError: the table has no stream, the export can't be read or made, or the archive leaves out what
                documents are made of.
        """
        deployment = table.in_index(self.deployment, concrete)
        load = self._backfill(deployment)
        if self.source.kind is SourceKind.EXPORT:
            place = self.source.export_now
            location = load.planner.exported(table.name, place) if place else self.source.export
            return load.planner.of_export(table.name, location or "")
        if self.source.kind is SourceKind.ARCHIVE:
            place_of(deployment)
            check_whole(only_index(deployment.prepare(table.stream, table.source.keys), concrete))
        return load.planner.of_table(table.name)

    def fill(self, table: RebuiltTable, concrete: str) -> Filled:
        """Do all that is left to do for the table: load or replay, removal of ghosts, verification.

        Raises:
            LoadStopped: `stop` was set.
            ConfigError: as `plan`; or the table, its stream or its mapping is another than when the load began.
            SinkUnavailable: a server is out of reach; it can be taken up again.
        """
        deployment = _held_to(table.in_index(self.deployment, concrete), table.index, concrete)
        if self.source.kind is SourceKind.ARCHIVE:
            replayed = self._replayed(deployment, table, concrete)
            changes = sum(sink.changes for sink in replayed.sinks.values())
            findings = self._mended(deployment, table, concrete)
            items, rejected = changes, replayed.dead_letters
        else:
            result = self._loaded(deployment, table, concrete)
            items, rejected = result.loaded.items, result.loaded.outcomes.get(_LOST, 0)
            findings = result.findings or self._mended(deployment, table, concrete)
        for _ in range(_LOOKS - 1):
            if findings.remaining:
                findings = self._mended(deployment, table, concrete)
        return Filled(table.name, items, rejected, findings)

    def _backfill(self, deployment: Deployment) -> Backfill:
        return Backfill(deployment, Jobs(self.objects), self.options, self.stop, self.observe)

    def _loaded(self, deployment: Deployment, table: RebuiltTable, concrete: str) -> BackfillResult:
        load = self._backfill(deployment)
        known = [job for job in load.jobs.of_table(table.name) if "aborted" not in load.jobs.steps(table.name, job)]
        if not known:
            plan, units = self.plan(table, concrete)
            load.begin(plan, units)
            known = [plan.job]
        return load.run(table.name, known[-1])

    def _replayed(self, deployment: Deployment, table: RebuiltTable, concrete: str) -> ReplaySummary:
        """Write what the archive holds, once in this rebuild: consumers write all that comes later themselves."""
        name = f"{table.name}/replayed.json"
        known = self.objects.read(name)
        if known is not None:
            return msgspec.json.decode(known, type=ReplaySummary)
        self.observe(RebuildStep(f"replaying the archive of {table.name} into {concrete}"))
        try:
            summary = replay_to_index(
                deployment, table.name, _EVER, index=concrete, stream=table.stream, wanted=self._wanted
            )
        except ReplayStopped:
            raise LoadStopped from None
        self.objects.write(name, msgspec.json.encode(summary))
        return summary

    def _mended(self, deployment: Deployment, table: RebuiltTable, concrete: str) -> Findings:
        from cdc.verification.verify import VerificationProgress, verify

        def observe(progress: VerificationProgress) -> None:
            if not self._wanted():
                raise LoadStopped
            deployment.observe(progress)

        self.observe(RebuildStep(f"verifying {concrete} against {table.name}"))
        return verify(
            deployment,
            table.name,
            stream=table.stream,
            indices=(concrete,),
            workers=self.options.workers,
            max_read_units=self.options.max_read_units,
            repair=True,
            max_repairs=None,
            observe=observe,
        )

    def _wanted(self) -> bool:
        return not self.stop.is_set()


def _held_to(deployment: Deployment, index: str, concrete: str) -> Deployment:
    """The deployment, which does not wait for an index that was deleted: nobody makes it again."""
    return replace(deployment, index=lambda mapping_of: _HeldTo(deployment.index(mapping_of), index, concrete))


class _HeldTo(SinkWrapper):
    def __init__(self, sink: Sink, index: str, concrete: str) -> None:
        super().__init__(sink)
        self._index = index
        self._concrete = concrete

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        outcomes = self.sink.write(changes, deadline)
        if any(isinstance(one, Deferred) and one.cause.kind is CauseKind.INDEX_VANISHED for one in outcomes):
            raise ConfigError(
                f"{self._concrete} was deleted while it was filled",
                remedy=f"If nobody gave the rebuild up: cdc rebuild abort --index {self._index}, then begin anew.",
            )
        return outcomes
