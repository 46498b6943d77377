"""FreshMembers(sink): every document goes to all members of its index, as they are known to be now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.document_writer import DocumentWriter
from cdc.mappings.model import TableMapping
from cdc.mappings.removals import RemovalsByEvent, RemovalsOnly
from cdc.mappings.writes import Write
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.records.change import Change
from cdc.sinks import Sink
from cdc.sinks.opensearch.members import Members, Standing

__all__ = ["FreshMembers"]

MakeSink = Callable[[Callable[[str], DocumentWriter], Callable[[], bool]], Sink]
"""Makes the sink by these mappings; it asks before each request whether what they were made by may still be heeded."""


class FreshMembers(SinkWrapper):
    """Writes by what is known of the indices' members, and reads that again where it is too old.

    No batch is written by older knowledge: members that can't be read defer it. What is tried again passes here again,
    so this stands within whatever tries again.
    """

    def __init__(
        self,
        make: MakeSink,
        mapping_of: Callable[[str], DocumentWriter],
        members: Members,
        *,
        mended: bool = False,
    ) -> None:
        """
        Args:
            mended: the mappings may be mended already, beside those that the indices carry; see `Standing.compiled`.
        """
        super().__init__(make(self._writer, self._are_known))
        self._mapping_of = mapping_of
        self._members = members
        self._mended = mended
        self._spread: dict[str, _Spread] = {}
        self._indices: frozenset[str] = frozenset()

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Write to all members; see `Sink.write`.

        Raises:
            ConfigError: a member carries a mapping that can't be used here.
        """
        try:
            tables = {change.table for change in changes}
            self._spread |= {table: self._fresh(table, deadline) for table in tables}
        except SinkUnavailable as error:
            return [Deferred(error.cause, error.wait_seconds)] * len(changes)
        self._indices = frozenset(index for table in tables for index in self._spread[table].standings)
        outcomes = self.sink.write(changes, deadline)
        if any(isinstance(one, Deferred) and one.cause.kind is CauseKind.INDEX_VANISHED for one in outcomes):
            self._members.forget(self._indices)
        return outcomes

    def _fresh(self, table: str, deadline: Deadline) -> _Spread:
        own, known = self._mapping_of(table), self._spread.get(table)
        if known is None or known.own is not own:
            known = _Spread(own, dict.fromkeys(_indices_of(own)), own)
        standings = {index: self._members.fresh(index, deadline) for index in known.standings}
        if all(known.standings[index] is standing for index, standing in standings.items()):
            return known
        return _Spread(own, standings, _spread(own, standings, mended=self._mended))

    def _writer(self, table: str) -> DocumentWriter:
        return self._spread[table].writer

    def _are_known(self) -> bool:
        return self._members.are_known(self._indices)


@dataclass(frozen=True, slots=True)
class _Spread:
    """A table's mapping, and what became of it by how its indices stand."""

    own: DocumentWriter
    standings: Mapping[str, Standing | None]
    writer: DocumentWriter


@dataclass(frozen=True)
class _Copies:
    """Writes that are the same for every member of their index."""

    own: DocumentWriter
    addresses: Mapping[str, Sequence[str]]

    @property
    def mapping(self) -> TableMapping:
        return self.own.mapping

    def writes(self, change: Change) -> Sequence[Write | Rejected]:
        found: list[Write | Rejected] = []
        for write in self.own.writes(change):
            if isinstance(write, Rejected):
                found.append(write)
            else:
                found += [msgspec.structs.replace(write, index=address) for address in self.addresses[write.index]]
        return found


def _indices_of(own: DocumentWriter) -> Iterable[str]:
    match own:
        case CompiledMapping():
            return own.bodies
        case RemovalsOnly():
            return own.compiled.bodies
        case RemovalsByEvent():
            return own.indices
    raise TypeError(f"{type(own).__name__} does not tell which indices it writes to")


def _spread(own: DocumentWriter, standings: Mapping[str, Standing], *, mended: bool) -> DocumentWriter:
    match own:
        case CompiledMapping():
            return _of_members(own, standings, mended=mended)
        case RemovalsOnly():
            return replace(own, compiled=_of_members(own.compiled, standings, mended=mended))
    return _Copies(own, {index: standing.addresses for index, standing in standings.items()})


def _of_members(own: CompiledMapping, standings: Mapping[str, Standing], *, mended: bool) -> CompiledMapping:
    found = [standing.compiled(own, mended=mended) for standing in standings.values()]
    owners = tuple(owner for one in found for owner in one.owners)
    return own if owners == own.owners else replace(own, owners=owners)
