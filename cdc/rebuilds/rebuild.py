"""Rebuild: a new index is built beside the one that is searched, proven, and swapped in; the old one stands by.

From the moment at which both are members of the index every consumer writes to both, each by the mapping that it
carries. The load of the new one begins once every process has heeded that (`KNOWN_SECONDS`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from cdc.errors import ConfigError
from cdc.loads.backfill import Backfill, LoadOptions
from cdc.loads.deployment import Deployment
from cdc.loads.jobs import Jobs, Objects
from cdc.loads.pinned import pinned
from cdc.loads.planning import Planner
from cdc.loads.unit import LoadStopped
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.identity import documents_in, may_share, shared_documents
from cdc.mappings.model import Mappings
from cdc.rebuilds.facts import Joined, RebuildBegan, RebuildResult, RebuildStep
from cdc.rebuilds.prefixed import Prefixed
from cdc.rebuilds.scratch import asked
from cdc.rebuilds.standing import RebuildStanding, rebuild_standing
from cdc.sinks.opensearch.admission import first_memory
from cdc.sinks.opensearch.bodies import body_digest, index_body
from cdc.sinks.opensearch.carried import carried, compiled_from
from cdc.sinks.opensearch.members import KNOWN_SECONDS
from cdc.sinks.opensearch.memory import Memory, RebuildNote, read_memories, write_memory
from cdc.sinks.opensearch.tombstones import ALIVE
from cdc.verification.findings import Findings

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.loads.plan import Plan
    from cdc.loads.table import SourceTable
    from cdc.records.stream import Stream

__all__ = ["Rebuild"]

_T = TypeVar("_T")
_TURNS = 20
_LOOKS = 3
"""So often the new index is verified before the rebuild is given up: readers of a busy table may be overtaken."""
_LOST = ("rejected",)


@dataclass(frozen=True)
class _Table:
    """A table that writes to the index."""

    source: SourceTable
    stream: Stream
    compiled: CompiledMapping


@dataclass(frozen=True)
class Rebuild:
    """Rebuilds indices of one deployment. Each step may be killed, and done again."""

    deployment: Deployment
    client: OpenSearch
    mappings: Mappings
    objects: Objects
    """Where the loads keep their plans and cursors."""
    options: LoadOptions = field(default_factory=LoadOptions)
    accept: int = 0
    """So many dead letters of the new index are no reason to stop before the swap."""
    stop: Event = field(default_factory=Event)
    observe: Callable[[object], None] = lambda _fact: None

    def standing(self, index: str) -> RebuildStanding:
        """See `rebuild_standing`."""
        return rebuild_standing(self.client, index)

    # --- forward

    def plans(self, index: str) -> Sequence[Plan]:
        """The plan of each table's load, and its price. Nothing is written.

        Raises:
            ConfigError: as `run`.
        """
        standing = self.standing(index)
        return [self._planner(table, f"{index}-new").of_table(table.source.name)[0] for table in self._tables(standing)]

    def run(self, index: str) -> RebuildResult:
        """Build the index anew by the mapping files of now, prove it, and let searches see it; or go on with a rebuild
        that was stopped or killed.

        Raises:
            LoadStopped: `stop` was set.
            ConfigError: the index is no alias, its mapping has not changed, the new one is not proven, or another
                rebuild has ended meanwhile.
            SinkUnavailable: a server is out of reach; the same command goes on.
        """
        standing = self.standing(index)
        tables = self._tables(standing)
        note = standing.note
        if note is None:
            note = self._begun(standing, tables)
        elif standing.is_swapped:
            raise ConfigError(
                f"{index} was rebuilt: searches see {note.new}, and {note.old} stands by",
                remedy=f"cdc rebuild finish --index {index} deletes {note.old}; cdc rebuild rollback goes back to it.",
            )
        self.observe(RebuildBegan(index, note))
        joined = self._joined(index, note)
        self._await(joined + KNOWN_SECONDS)
        loads = [self._loaded(index, note, table) for table in tables]
        self._swapped(index, note, tables)
        return RebuildResult(index, note, sum(items for items, _ in loads), tuple(findings for _, findings in loads))

    def _tables(self, standing: RebuildStanding) -> Sequence[_Table]:
        index, names = standing.index, standing.searched.tables
        if not names:
            raise ConfigError(
                f"{standing.searched.index} does not remember which tables write to it",
                remedy=f"Start the consumer once with its mapping, then: cdc rebuild --index {index}",
            )
        tables = [self._table(name, index) for name in names]
        for at, one in enumerate(tables):
            for other in tables[:at]:
                mine, theirs = documents_in(index, one.compiled), documents_in(index, other.compiled)
                if may_share(one.compiled.table, mine, other.compiled.table, theirs):
                    raise shared_documents(one.compiled.mapping.source, index, one.compiled.table, other.compiled.table)
        return tables

    def _table(self, name: str, index: str) -> _Table:
        from cdc.loads.planning import stream_of

        source = self.deployment.pages.describe(name)
        compiled = compile_mapping(self.mappings.of(name), name, sorted(source.keys))
        if index not in compiled.bodies:
            raise ConfigError(
                f"{compiled.mapping.source} writes no document of {name} to {index}, which holds some",
                remedy=f"Add a document for {index}; or remove those of {name} from it, and its entries in _meta.cdc.",
            )
        return _Table(source, stream_of(source, self.options), compiled)

    def _begun(self, standing: RebuildStanding, tables: Sequence[_Table]) -> RebuildNote:
        index, old = standing.index, standing.searched
        body = tables[0].compiled.bodies[index]
        for table in tables:
            known = old.mapping(table.compiled.table)
            if known is None:
                raise ConfigError(
                    f"{old.index} does not carry the mapping of {table.compiled.table} yet",
                    remedy="Start a consumer of this version once, with the mapping that has made the index.",
                )
        same = all(old.mapping(one.compiled.table) == carried(one.compiled, index) for one in tables)
        if same and old.body == body_digest(body):
            raise ConfigError(
                f"the mapping has not changed since {old.index} was made: nothing has to be rebuilt",
                remedy=f"cdc verify --table {tables[0].compiled.table} --repair mends documents.",
            )
        note = RebuildNote(f"{self._now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}", old.index, self._free(index))
        self.observe(RebuildStep(f"making {note.new}"))
        full = index_body(body, tombstones=any(index in one.compiled.tombstoned for one in tables))
        full.pop("aliases", None)
        full["settings"]["index"] = {**full["settings"]["index"], "hidden": True}
        meta = full["mappings"]["_meta"]
        for one in tables:
            told: dict[str, Any] = first_memory(one.compiled, one.stream, index, self.deployment.now())
            parts = ("tables", "documents", "mappings")
            meta["cdc"] |= {**told, **{part: {**meta["cdc"].get(part, {}), **told.get(part, {})} for part in parts}}
        full["mappings"]["_meta"] = Memory(note.new, full["mappings"]).with_members([note.old, note.new], note)
        source = tables[0].compiled.mapping.source
        self._asked(
            f"the index {note.new} can't be made",
            f"Check `body` in {source}, and that this user may create {index}-v*.",
            lambda: self.client.indices.create(index=note.new, body=full),
        )
        return note

    def _free(self, index: str) -> str:
        number = 2
        while self._asked(
            f"{index}-v{number} can't be looked up",
            "Allow it.",
            lambda: self.client.indices.exists(
                index=f"{index}-v{number}"  # noqa: B023  (asked at once)
            ),
        ):
            number += 1
        return f"{index}-v{number}"

    def _joined(self, index: str, note: RebuildNote) -> float:
        """When both had become members, in seconds since 1970."""
        objects = self._objects(index, note)
        self._with_members(note.old, [note.old, note.new], note)
        known = objects.read("joined.json")
        if known is not None:
            return msgspec.json.decode(known, type=Joined).at
        joined = Joined(self.deployment.now())
        objects.write("joined.json", msgspec.json.encode(joined))
        return joined.at

    def _await(self, moment: float) -> None:
        if moment > self.deployment.now():
            self.observe(RebuildStep("waiting until every consumer writes to both"))
        while (left := moment - self.deployment.now()) > 0:
            if self.stop.is_set():
                raise LoadStopped
            self.deployment.sleep(min(left, 1.0))

    def _planner(self, table: _Table, concrete: str) -> Planner:
        return Planner(self._pinned(table, table.compiled, concrete), self.options)

    def _pinned(self, table: _Table, compiled: CompiledMapping, concrete: str) -> Deployment:
        index = concrete.rpartition("-")[0]
        made = compiled_from(carried(compiled, index), compiled.table, compiled.keys, concrete, compiled.mapping.source)
        return pinned(self.deployment, made)

    def _loaded(self, index: str, note: RebuildNote, table: _Table) -> tuple[int, Findings]:
        """Load a table into the new index, and verify that; the items read, and the findings."""
        deployment = self._pinned(table, table.compiled, note.new)
        jobs = Jobs(self._objects(index, note))
        load = Backfill(deployment, jobs, self.options, self.stop, self.observe)
        name = table.source.name
        known = [job for job in jobs.of_table(name) if "aborted" not in jobs.steps(name, job)]
        if not known:
            plan, units = load.planner.of_table(name)
            load.begin(plan, units)
            known = [plan.job]
        result = load.run(name, known[-1])
        findings, looks = result.findings, 1
        while findings is not None and findings.remaining and looks < _LOOKS:
            findings, looks = self._mended(deployment, table, note), looks + 1
        lost = sum(result.loaded.outcomes.get(kind, 0) for kind in _LOST)
        kept = max(lost, 0 if findings is None else findings.counts.get("kept", 0))
        if findings is None or findings.remaining or findings.unsettled > findings.equal:
            told = "" if findings is None else f": {findings.verdict}"
            raise ConfigError(
                f"{note.new} is not proven to be equal to {name}{told}",
                remedy=f"Run cdc rebuild --index {index} again, when the table is quieter; or give it up: "
                f"cdc rebuild abort --index {index}",
            )
        if kept > self.accept:
            raise ConfigError(
                f"{note.new} does not take {kept:,} documents of {name}: they are dead letters, and would be missing",
                remedy=f"`cdc dead-letters list` shows why. Give it up (cdc rebuild abort --index {index}), and mend "
                f"the mapping; or go on without them: --accept {kept}",
            )
        return result.loaded.items, findings

    def _mended(self, deployment: Deployment, table: _Table, note: RebuildNote) -> Findings:
        from cdc.verification.verify import verify

        return verify(
            deployment,
            table.source.name,
            stream=table.stream,
            indices=(note.new,),
            workers=self.options.workers,
            max_read_units=self.options.max_read_units,
            repair=True,
            max_repairs=None,
        )

    def _swapped(self, index: str, note: RebuildNote, tables: Sequence[_Table]) -> None:
        """Let searches see the new index, by one request that is refused where the alias was moved meanwhile."""
        if self.stop.is_set():
            raise LoadStopped
        standing = self.standing(index)
        alias = dict(standing.alias)
        if any(index in table.compiled.tombstoned for table in tables) and "filter" not in alias:
            alias |= ALIVE
        self.observe(RebuildStep(f"searches see {note.new} from now on"))
        settings = {"index": {"hidden": False}}
        self._asked(
            f"{note.new} can't be shown",
            "Allow it.",
            lambda: self.client.indices.put_settings(index=note.new, body=settings),
        )
        self._moved(index, note.old, note.new, alias)

    def _moved(self, index: str, old: str, new: str, alias: dict[str, Any]) -> None:
        actions = [
            {"remove": {"index": old, "alias": index, "must_exist": True}},
            {"add": {**_properties(alias), "index": new, "alias": index}},
        ]
        self._asked(
            f"the alias {index} can't be moved from {old} to {new}",
            f"`cdc rebuild status --index {index}` shows how it stands: somebody may have moved it meanwhile.",
            lambda: self.client.indices.update_aliases(body={"actions": actions}),
        )

    # --- and back

    def rollback(self, index: str) -> RebuildNote:
        """Let searches see the old index again, which is not a second stale.

        Raises:
            ConfigError: the index was not rebuilt, or the old one is gone.
        """
        standing, note = self._noted(index)
        if not standing.is_swapped or standing.beside is None:
            raise ConfigError(
                f"there is nothing to roll back: searches of {index} see {standing.searched.index}",
                remedy=f"cdc rebuild status --index {index}",
            )
        self._moved(index, note.new, note.old, dict(standing.alias))
        return note

    def finish(self, index: str) -> RebuildNote:
        """Delete the old index of a rebuild, once nobody writes to it any more.

        Raises:
            ConfigError: searches do not see the new one.
        """
        standing, note = self._noted(index)
        if not standing.is_swapped:
            raise ConfigError(
                f"searches of {index} see {standing.searched.index}: the rebuild has not come to its swap",
                remedy=f"cdc rebuild --index {index} goes on with it; cdc rebuild abort --index {index} gives it up.",
            )
        self._left(note.new, note.old)
        return note

    def abort(self, index: str) -> RebuildNote:
        """Give a rebuild up: the new index is deleted, once nobody writes to it any more.

        Raises:
            ConfigError: searches see the new one.
        """
        standing, note = self._noted(index)
        if standing.is_swapped:
            raise ConfigError(
                f"searches of {index} see the new index {note.new}",
                remedy=f"Go back first: cdc rebuild rollback --index {index}",
            )
        self._left(note.old, note.new)
        return note

    def _noted(self, index: str) -> tuple[RebuildStanding, RebuildNote]:
        standing = self.standing(index)
        if standing.note is None:
            raise ConfigError(f"{index} is not being rebuilt", remedy=f"cdc rebuild --index {index} begins a rebuild.")
        return standing, standing.note

    def _left(self, stays: str, goes: str) -> None:
        """Delete an index that is searched no more, once every process has heeded that it is no member."""
        self._with_members(stays, [stays], None)
        self._await(self.deployment.now() + KNOWN_SECONDS)
        if self._asked(f"{goes} can't be looked up", "Allow it.", lambda: self.client.indices.exists(index=goes)):
            self.observe(RebuildStep(f"deleting {goes}"))
            remedy = f"Allow it, or delete {goes} by hand: nothing writes to it any more."
            self._asked(f"{goes} can't be deleted", remedy, lambda: self.client.indices.delete(index=goes))

    def _with_members(self, concrete: str, members: Sequence[str], note: RebuildNote | None) -> None:
        """Have an index know its members.

        Raises:
            ConfigError: it is a part of another rebuild, or others write to its memory all the time.
        """
        for _ in range(_TURNS):
            (memory,) = self._asked(
                f"{concrete} can't be read", "Allow it.", lambda: read_memories(self.client, concrete)
            )
            if memory.rebuild not in (None, note) and note is not None:
                raise ConfigError(
                    f"{concrete} is a part of another rebuild, {memory.rebuild.job}",
                    remedy="Wait until that one has ended, or abort it.",
                )
            if (memory.members, memory.rebuild) == (tuple(members), note):
                return
            meta = memory.with_members(members, note)
            if self._asked(
                f"{concrete} can't be written",
                "Allow this user to put its mapping.",
                lambda: write_memory(self.client, memory, meta),  # noqa: B023  (asked at once)
            ):
                return
        raise ConfigError(f"others write to the memory of {concrete} all the time", remedy="Try again in a minute.")

    def _objects(self, index: str, note: RebuildNote) -> Prefixed:
        return Prefixed(self.objects, f"~rebuilds/{index}/{note.job}/")

    def _asked(self, what: str, remedy: str, ask: Callable[[], _T]) -> _T:
        return asked(what, remedy, ask)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.deployment.now(), UTC)


def _properties(alias: dict[str, Any]) -> dict[str, Any]:
    """An alias's properties as `_aliases` takes them."""
    return {name: value for name, value in alias.items() if name in ("filter", "index_routing", "search_routing")}
