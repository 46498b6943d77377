"""Memory: `_meta.cdc` of an index's mapping, read, and written only where nobody else has written meanwhile.

OpenSearch replaces `_meta` as a whole and knows no condition for it. It does refuse a mapping that gives a field of
the index another `null_value`, and applies a mapping whole or not at all. So each writing takes the next turn: it
brings a field `_cdc_turns.turn_<n>` along, with a text of its own as the `null_value`. Of two that saw the same
mapping one is refused, reads again and decides again. No document has such a field.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import msgspec

from cdc.errors import ConfigError
from cdc.known_types import know
from cdc.mappings.identity import RememberedDocuments
from cdc.records.stream import Stream
from cdc.sinks.opensearch.provenance import RememberedSource

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["Memory", "read_memories", "write_memory"]

log = logging.getLogger(__name__)

_TURNS = "_cdc_turns"
_FORMAT = 2
"""Format 1 had no `documents`. Its writers leave them as they are."""
_T = TypeVar("_T")


class Memory:
    """The memory of one concrete index, as its mapping holds it."""

    def __init__(self, index: str, mapping: Mapping[str, Any]) -> None:
        self.index = index
        self._meta = _map(mapping.get("_meta"))
        self._cdc = _map(self._meta.get("cdc"))
        self._turns = _map(_map(_map(mapping.get("properties")).get(_TURNS)).get("properties"))

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

    def with_table(self, table: str, source: RememberedSource, documents: RememberedDocuments) -> dict[str, Any]:
        """`_meta` with this of the table. What others keep there stays."""
        tables = {**self._part("tables"), table: msgspec.to_builtins(source)}
        every = {**self._part("documents"), table: msgspec.to_builtins(documents)}
        cdc = {**self._cdc, "format": _FORMAT, "tables": tables, "documents": every}
        return {**self._meta, "cdc": cdc}

    def _part(self, name: str) -> Mapping[str, Any]:
        return _map(self._cdc.get(name))

    def _read(self, part: str, table: str, kind: type[_T]) -> _T | None:
        entry = self._part(part).get(table)
        try:
            return None if entry is None else msgspec.convert(entry, kind)
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"_meta.cdc.{part}.{table} of the index {self.index} can't be read: {error}",
                remedy="It was written by another version: remove it from the index's mapping, or use a new index.",
            ) from error


know(RememberedSource, RememberedDocuments)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def read_memories(client: OpenSearch, index: str) -> list[Memory]:
    """The memory of each concrete index of this name or behind this alias.

    Raises:
        OpenSearchException: it can't be read.
    """
    found = client.indices.get_mapping(index=index)
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
