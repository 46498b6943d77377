"""Rebuild: a new index is built beside the one that is searched, proven, and swapped in; the old one stands by.

From the moment at which both are members of the index every consumer writes to both, each by the mapping that it
carries. The load of the new one begins once every process has heeded that (`KNOWN_SECONDS`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any

import msgspec

from cdc.errors import ConfigError
from cdc.loads.deployment import Deployment
from cdc.loads.jobs import Objects
from cdc.loads.planning import LoadOptions
from cdc.loads.unit import LoadStopped
from cdc.mappings.model import Mappings
from cdc.rebuilds.facts import FillSource, Joined, RebuildBegan, RebuildResult, RebuildStep, Swapped
from cdc.rebuilds.filling import Filled, Filling
from cdc.rebuilds.new_index import free_name, make_new, not_worse, put_back, standby_of
from cdc.rebuilds.prefixed import Prefixed
from cdc.rebuilds.scratch import asked
from cdc.rebuilds.standing import RebuildStanding, rebuild_standing
from cdc.rebuilds.tables import RebuiltTable, tables_of
from cdc.sinks.opensearch.bodies import body_digest
from cdc.sinks.opensearch.members import KNOWN_SECONDS
from cdc.sinks.opensearch.memory import Memory, RebuildNote, read_memories, write_memory
from cdc.sinks.opensearch.tombstones import ALIVE

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.loads.plan import Plan

__all__ = ["KEEP_SECONDS", "Rebuild"]

KEEP_SECONDS = 24 * 3600.0
"""So long the old index stands by where nobody says otherwise."""
_TURNS = 20
_SWAPPED = "swapped.json"


@dataclass(frozen=True)
class Rebuild:
    """Rebuilds indices of one deployment. Each step may be killed, and done again."""

    deployment: Deployment
    client: OpenSearch
    mappings: Mappings
    objects: Objects
    """Where the loads keep their plans and cursors."""
    options: LoadOptions = field(default_factory=LoadOptions)
    source: FillSource = field(default_factory=FillSource)
    accept: int = 0
    """So many dead letters of the new index are no reason to stop before the swap."""
    keep_seconds: float = KEEP_SECONDS
    """How long the old index is to stand by; 0: it is deleted at once."""
    before_swap: Callable[[RebuildNote], None] = lambda _note: None
    """Asked when the new index is proven; what it raises stops the rebuild before the swap."""
    stop: Event = field(default_factory=Event)
    observe: Callable[[object], None] = lambda _fact: None

    def standing(self, index: str) -> RebuildStanding:
        """See `rebuild_standing`."""
        return rebuild_standing(self.client, index)

    def kept_until(self, standing: RebuildStanding) -> float | None:
        """Until when the old index was to stand by, in seconds since 1970; None before the swap."""
        if standing.note is None or not standing.is_swapped:
            return None
        swapped = self._swap_of(standing.index, standing.note)
        return None if swapped is None else swapped.kept_until

    # --- forward

    def plans(self, index: str) -> Sequence[Plan]:
        """The plan of each table's load, and its price. Nothing is written.

        Raises:
            ConfigError: as `run`.
        """
        filling = self._filling(self.objects)
        return [filling.priced(table, f"{index}-new") for table in self._tables(self.standing(index))]

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
        if standing.note is not None and standing.is_swapped:
            return self._swapped_before(standing, standing.note)
        tables = self._tables(standing)
        note = standing.note or self._begun(standing, tables)
        self.observe(RebuildBegan(index, note))
        self._check_same(index, note, tables)
        self._await(self._joined(index, note) + KNOWN_SECONDS)
        filling = self._filling(self._objects(index, note))
        filled = [filling.fill(table, note.new) for table in tables]
        for one in filled:
            self._check_proven(index, note, one)
        self._made_ready(index, note, tables)
        self.before_swap(note)
        result = RebuildResult(index, note, sum(one.items for one in filled), tuple(one.findings for one in filled))
        self._swap(index, tables, result)
        return self._ended(result)

    def _swapped_before(self, standing: RebuildStanding, note: RebuildNote) -> RebuildResult:
        """The end of a rebuild that was killed between its swap and the deletion of the old index."""
        swapped = self._swap_of(standing.index, note)
        if swapped is None or self.keep_seconds or swapped.keep_seconds:
            index = standing.index
            raise ConfigError(
                f"{index} was rebuilt: searches see {note.new}, and {note.old} stands by",
                remedy=f"cdc rebuild finish --index {index} deletes {note.old}; cdc rebuild rollback goes back to it.",
            )
        return self._ended(swapped.result)

    def _ended(self, result: RebuildResult) -> RebuildResult:
        if not self.keep_seconds:
            self.finish(result.index)
        return result

    def _tables(self, standing: RebuildStanding) -> Sequence[RebuiltTable]:
        tables = tables_of(self.deployment, self.mappings, self.options, standing)
        if self.source.export is not None and len(tables) > 1:
            raise ConfigError(
                f"{len(tables)} tables write to {standing.index}, and an export is of one: "
                + ", ".join(table.name for table in tables),
                remedy="Ask for one of each (--export-now s3://bucket/prefix), or fill the index from the tables.",
            )
        return tables

    def _filling(self, objects: Objects) -> Filling:
        return Filling(self.deployment, objects, self.source, self.options, self.stop, self.observe)

    def _begun(self, standing: RebuildStanding, tables: Sequence[RebuiltTable]) -> RebuildNote:
        index, old = standing.index, standing.searched
        for table in tables:
            if old.mapping(table.name) is None:
                raise ConfigError(
                    f"{old.index} does not carry the mapping of {table.name} yet",
                    remedy="Start a consumer of this version once, with the mapping that has made the index.",
                )
        same = all(old.mapping(table.name) == table.carried for table in tables)
        if same and old.body == body_digest(tables[0].compiled.bodies[index]):
            raise ConfigError(
                f"the mapping has not changed since {old.index} was made: nothing has to be rebuilt",
                remedy=f"cdc verify --table {tables[0].name} --repair mends documents.",
            )
        job = f"{self._now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        note = RebuildNote(job, old.index, free_name(self.client, index))
        self.observe(RebuildStep(f"making {note.new}"))
        make_new(self.client, note, index, tables, self.deployment.now())
        try:
            self._with_members(note.old, [note.old, note.new], note)
        except ConfigError:
            self._discarded(index, note.new)  # another rebuild was faster: nothing writes to this one
            raise
        return note

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
            self._wait(min(left, 1.0))

    def _wait(self, seconds: float) -> None:
        if self.stop.is_set():
            raise LoadStopped
        self.deployment.sleep(seconds)

    def _check_same(self, index: str, note: RebuildNote, tables: Sequence[RebuiltTable]) -> None:
        """A rebuild that goes on is the one that was begun, by the same files, and nobody gives it up."""
        again = f"cdc rebuild abort --index {index}, then begin anew."
        standby = {"index": note.new, "name": standby_of(index)}
        if not asked(
            f"{note.new} can't be looked up", "Allow it.", lambda: self.client.indices.exists_alias(**standby)
        ):
            raise ConfigError(f"the rebuild of {index} is being given up: {note.new} stands by no more", remedy=again)
        new = self._memory(note.new)
        same = all(new.mapping(table.name) == table.carried for table in tables)
        if not same or new.body != body_digest(tables[0].compiled.bodies[index]):
            raise ConfigError(
                f"{tables[0].compiled.mapping.source}: the mapping has changed since the rebuild of {index} began",
                remedy=f"Take the change back, and run this again; or: {again}",
            )

    def _check_proven(self, index: str, note: RebuildNote, filled: Filled) -> None:
        if not filled.is_proven:
            raise ConfigError(
                f"{note.new} is not proven to be equal to {filled.table}: {filled.findings.verdict}",
                remedy=f"Run cdc rebuild --index {index} again, when the table is quieter; or give it up: "
                f"cdc rebuild abort --index {index}",
            )
        if filled.lacking > self.accept:
            raise ConfigError(
                f"{note.new} does not take {filled.lacking:,} documents of {filled.table}: they are dead letters, and "
                "would be missing",
                remedy=f"`cdc dead-letters list` shows why. Give it up (cdc rebuild abort --index {index}), and mend "
                f"the mapping; or go on without them: --accept {filled.lacking}",
            )

    def _made_ready(self, index: str, note: RebuildNote, tables: Sequence[RebuiltTable]) -> None:
        """Give the new index its refreshes and replicas, and wait until it is allocated as well as the old one."""
        put_back(self.client, note.new, index, tables)
        if not_worse(self.client, note.new, note.old):
            return
        self.observe(RebuildStep(f"waiting for the replicas of {note.new}"))
        while not not_worse(self.client, note.new, note.old):
            self._wait(1.0)

    def _swap(self, index: str, tables: Sequence[RebuiltTable], result: RebuildResult) -> None:
        """Let searches see the new index, by one request that is refused where the alias was moved meanwhile."""
        if self.stop.is_set():
            raise LoadStopped
        note, alias = result.note, dict(self.standing(index).alias)
        if any(table.is_tombstoned for table in tables) and "filter" not in alias:
            alias |= ALIVE
        # examples may quote items, and nobody needs them any more
        bare = msgspec.structs.replace(
            result, findings=tuple(msgspec.structs.replace(one, examples=()) for one in result.findings)
        )
        swapped = Swapped(self.deployment.now(), self.keep_seconds, bare)
        self._objects(index, note).write(_SWAPPED, msgspec.json.encode(swapped))
        self.observe(RebuildStep(f"searches see {note.new} from now on"))
        self._moved(index, note.old, note.new, alias)

    def _swap_of(self, index: str, note: RebuildNote) -> Swapped | None:
        known = self._objects(index, note).read(_SWAPPED)
        return None if known is None else msgspec.json.decode(known, type=Swapped)

    def _moved(self, index: str, old: str, new: str, alias: Mapping[str, Any]) -> None:
        """Let searches see the other member, by one request that is refused where searches see another index meanwhile,
        or where somebody has begun to give the other one up."""
        standby = standby_of(index)
        actions = [
            *_moves(index, old, new, alias),
            {"remove": {"index": new, "alias": standby, "must_exist": True}},
            {"add": {"index": old, "alias": standby, "is_hidden": True}},
        ]
        asked(  # what it was given since its last refresh would be seen later than in the other one
            f"{new} can't be refreshed",
            f"Allow this user to refresh {index}-v* (indices:admin/refresh).",
            lambda: self.client.indices.refresh(index=new),
        )
        asked(
            f"the alias {index} can't be moved from {old} to {new}",
            f"`cdc rebuild status --index {index}` shows how it stands: somebody may have moved it, or ended the "
            "rebuild, meanwhile.",
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
        self._left(index, note.new, note.old)
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
        self._left(index, note.old, note.new)
        return note

    def _noted(self, index: str) -> tuple[RebuildStanding, RebuildNote]:
        standing = self.standing(index)
        if standing.note is None:
            raise ConfigError(f"{index} is not being rebuilt", remedy=f"cdc rebuild --index {index} begins a rebuild.")
        return standing, standing.note

    def _left(self, index: str, stays: str, goes: str) -> None:
        """Delete a member that is not searched: first nobody may swap to it any more, then nobody writes to it."""
        self._ended_by(index, stays, goes, "given up", {"remove": {"index": goes, "alias": standby_of(index)}})
        self._with_members(stays, [stays], None)
        self._await(self.deployment.now() + KNOWN_SECONDS)
        self._deleted(index, stays, goes)

    def _deleted(self, index: str, stays: str, goes: str) -> None:
        self.observe(RebuildStep(f"deleting {goes}"))
        self._ended_by(index, stays, goes, "deleted", {"remove_index": {"index": goes}})

    def _discarded(self, index: str, new: str) -> None:
        """Delete an index that has just been made, unless somebody has let searches see it."""
        standby = standby_of(index)
        failed = f"{new} can't be deleted", f"Look at it, then delete it by hand: DELETE {new}"
        asked(*failed, lambda: self.client.indices.delete_alias(index=new, name=standby))
        asked(*failed, lambda: self.client.indices.delete(index=new))

    def _ended_by(self, index: str, stays: str, goes: str, what: str, action: Mapping[str, Any]) -> None:
        """Do something to an index, by a request that is refused where searches do not see the other one."""
        if not asked(f"{goes} can't be looked up", "Allow it.", lambda: self.client.indices.exists(index=goes)):
            return
        actions = [*_moves(index, stays, stays, self.standing(index).alias), action]
        asked(
            f"{goes} can't be {what}",
            f"`cdc rebuild status --index {index}` shows how it stands: searches have to see {stays}.",
            lambda: self.client.indices.update_aliases(body={"actions": actions}),
        )

    def _with_members(self, concrete: str, members: Sequence[str], note: RebuildNote | None) -> None:
        """Have an index know its members.

        Raises:
            ConfigError: it is a part of another rebuild, or others write to its memory all the time.
        """
        for _ in range(_TURNS):
            (memory,) = asked(f"{concrete} can't be read", "Allow it.", lambda: read_memories(self.client, concrete))
            if memory.rebuild not in (None, note) and note is not None:
                raise ConfigError(
                    f"{concrete} is a part of another rebuild, {memory.rebuild.job}",
                    remedy="Wait until that one has ended, or abort it.",
                )
            if (memory.members, memory.rebuild) == (tuple(members), note):
                return
            meta = memory.with_members(members, note)
            if asked(
                f"{concrete} can't be written",
                "Allow this user to put its mapping.",
                lambda: write_memory(self.client, memory, meta),  # noqa: B023  (asked at once)
            ):
                return
        raise ConfigError(f"others write to the memory of {concrete} all the time", remedy="Try again in a minute.")

    def _memory(self, concrete: str) -> Memory:
        (memory,) = asked(f"{concrete} can't be read", "Allow it.", lambda: read_memories(self.client, concrete))
        return memory

    def _objects(self, index: str, note: RebuildNote) -> Prefixed:
        return Prefixed(self.objects, f"~rebuilds/{index}/{note.job}/")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.deployment.now(), UTC)


def _moves(index: str, source: str, target: str, alias: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The alias moved, with its properties, if it is where it is thought to be."""
    properties = {name: value for name, value in alias.items() if name in ("filter", "index_routing", "search_routing")}
    return [
        {"remove": {"index": source, "alias": index, "must_exist": True}},
        {"add": {**properties, "index": target, "alias": index}},
    ]
