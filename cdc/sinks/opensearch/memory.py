"""Memory: `_meta.cdc` of an index's mapping, read, and written only where nobody else has written meanwhile.

OpenSearch replaces `_meta` as a whole and knows no condition for it. It does refuse a mapping that gives a field of
the index another `null_value`, and applies a mapping whole or not at all. So each writing takes the next turn: it
brings a field `_cdc_turns.turn_<n>` along, with a text of its own as the `null_value`. Of two that saw the same
mapping one is refused, reads again and decides again. No document has such a field.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import msgspec

from cdc.errors import ConfigError
from cdc.known_types import know
from cdc.mappings.identity import RememberedDocuments
from cdc.records.stream import Stream
from cdc.sinks.opensearch.carried import CarriedMapping
from cdc.sinks.opensearch.provenance import RememberedSource

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["Memory", "RebuildNote", "read_memories", "write_memory"]

log = logging.getLogger(__name__)

_TURNS = "_cdc_turns"
_FORMAT = 3
"""Format 1 had no `documents`, format 2 no `mappings`, `members` and `rebuild`. Their writers leave what they do not
know as it is."""
_T = TypeVar("_T")


class RebuildNote(msgspec.Struct, frozen=True):
    """A rebuild that is under way: its job, and the concrete indices that it leads from and to."""

    job: str
    old: str
    new: str


class Memory:
    """The memory of one concrete index, as its mapping holds it."""

    def __init__(self, index: str, mapping: Mapping[str, Any]) -> None:
        self.index = index
        self._meta = _map(mapping.get("_meta"))
        self._cdc = _map(self._meta.get("cdc"))
        self._turns = _map(_map(_map(mapping.get("properties")).get(_TURNS)).get("properties"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Memory):
            return NotImplemented
        return (self.index, self._meta, self._turns) == (other.index, other._meta, other._turns)

    def __hash__(self) -> int:
        return hash(self.index)

    def source(self, table: str) -> RememberedSource | None:
        """Where the table's documents come from.

        Raises:
            ConfigError: it can't be read.
        """
        return self._read("tables", table, RememberedSource)

    def documents(self, table: str) -> RememberedDocuments | None:
        """The table's documents.

        Raises:
            ConfigError: it can't be read.
        """
        return self._read("documents", table, RememberedDocuments)

    def mapping(self, table: str) -> CarriedMapping | None:
        """The mapping by which the table's documents in this index are made; None where it carries none.

        Raises:
            ConfigError: it can't be read.
        """
        return self._read("mappings", table, CarriedMapping)

    @property
    def members(self) -> tuple[str, ...]:
        """The concrete indices that all get every document: this one alone where nothing is noted."""
        noted = self._cdc.get("members")
        names = [name for name in noted if isinstance(name, str)] if isinstance(noted, list) else []
        return tuple(names) or (self.index,)

    @property
    def rebuild(self) -> RebuildNote | None:
        """The rebuild that this index is a part of.

        Raises:
            ConfigError: the note can't be read.
        """
        note = self._cdc.get("rebuild")
        return None if note is None else self._converted("rebuild", note, RebuildNote)

    @property
    def body(self) -> str | None:
        """The digest of the body that the index was made with, if it is one of ours."""
        return self._cdc.get("body")

    def holds(self, stream: Stream) -> bool:
        """Are there documents of the stream's table?"""
        return _map(self._part("tables").get(stream.table)).get("arn") == stream.table_arn

    @property
    def tables(self) -> list[str]:
        """The tables that have written to the index."""
        return sorted({*self._part("tables"), *self._part("documents")})

    @property
    def turns(self) -> int:
        """How many turns were taken."""
        return len(self._turns)

    @property
    def next_turn(self) -> str:
        """The name of the turn that nobody has taken yet."""
        taken = [name.removeprefix("turn_") for name in self._turns]
        return f"turn_{max([0, *(int(number) for number in taken if number.isdecimal())]) + 1}"

    def with_table(
        self, table: str, source: RememberedSource, documents: RememberedDocuments, mapping: CarriedMapping | None
    ) -> dict[str, Any]:
        """`_meta` with this of the table. What others keep there stays, as does the carried mapping where none is
        given."""
        parts = {"tables": source, "documents": documents, "mappings": mapping}
        cdc = {
            name: {**self._part(name), table: msgspec.to_builtins(part)}
            for name, part in parts.items()
            if part is not None
        }
        return {**self._meta, "cdc": {**self._cdc, "format": _FORMAT, **cdc}}

    def with_members(self, members: Sequence[str], note: RebuildNote | None) -> dict[str, Any]:
        """`_meta` with these members and the note of their rebuild; with neither for the index alone and without one.
        What others keep there stays."""
        cdc = {name: part for name, part in self._cdc.items() if name not in ("members", "rebuild")}
        if tuple(members) != (self.index,):
            cdc["members"] = list(members)
        if note is not None:
            cdc["rebuild"] = msgspec.to_builtins(note)
        return {**self._meta, "cdc": {**cdc, "format": _FORMAT}}

    def _part(self, name: str) -> Mapping[str, Any]:
        return _map(self._cdc.get(name))

    def _read(self, part: str, table: str, kind: type[_T]) -> _T | None:
        entry = self._part(part).get(table)
        return None if entry is None else self._converted(f"{part}.{table}", entry, kind)

    def _converted(self, place: str, entry: Any, kind: type[_T]) -> _T:
        try:
            return msgspec.convert(entry, kind)
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"_meta.cdc.{place} of the index {self.index} can't be read: {error}",
                remedy="It was written by another version: remove it from the index's mapping, or use a new index.",
            ) from error


know(RememberedSource, RememberedDocuments, CarriedMapping, RebuildNote)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_memories(client: OpenSearch, index: str, *, may_be_gone: bool = False) -> list[Memory]:
    """The memory of each concrete index of this name or behind this alias.

    Args:
        may_be_gone: none where there is no such index.

    Raises:
        OpenSearchException: it can't be read.
    """
    found = client.indices.get_mapping(index=index, params={"ignore_unavailable": str(may_be_gone).lower()})
    return [Memory(concrete, state.get("mappings", {})) for concrete, state in found.items()]


def write_memory(client: OpenSearch, memory: Memory, meta: Mapping[str, Any]) -> bool:
    """Write `_meta`, made of `memory`. False: somebody has written since that was read, and nothing is written.

    Raises:
        OpenSearchException: it can't be written.
    """
    from opensearchpy.exceptions import AuthorizationException, RequestError

    turn = memory.next_turn
    properties = {_TURNS: {"properties": {turn: {"type": "keyword", "null_value": uuid4().hex}}}}
    try:
        client.indices.put_mapping(index=memory.index, body={"_meta": meta, "properties": properties})
    except RequestError as error:
        if f"{_TURNS}.{turn}" in str(error.info):  # it names the field that is another's, maybe before it can be read
            return False
        # it takes no field more: without a turn two that write at the same moment may not see each other
        log.warning("%s takes no further field: raise its index.mapping.total_fields.limit", memory.index)
        client.indices.put_mapping(index=memory.index, body={"_meta": meta})
    except AuthorizationException as error:
        if error.error == "cluster_block_exception":
            raise  # of an index that is read-only for a while, not of a permission
        log.warning(
            "%s can't remember where its documents come from and what makes them, so a source that ranks lower, and a "
            "mapping that would leave documents behind, will not be seen: allow this user or role to put its mapping",
            memory.index,
        )
    return True
