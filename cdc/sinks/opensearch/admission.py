"""Admission: a table's mapping and stream, held to what an index remembers, and remembered by it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.identity import (
    Difference,
    RememberedDocuments,
    differences,
    documents_in,
    may_share,
    shared_documents,
)
from cdc.records.stream import Stream
from cdc.records.versions import minute_at
from cdc.sinks.opensearch.carried import carried
from cdc.sinks.opensearch.memory import Memory, read_memories, write_memory
from cdc.sinks.opensearch.provenance import admitted

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["OnChangedMapping", "admit", "documents_admitted", "first_memory", "say_left"]

log = logging.getLogger(__name__)

OnChangedMapping = Literal["refuse", "accept"]

_MOST_TURNS = 100
_MANY_TURNS = 100
"""Two deployments whose mappings differ in what leaves nothing behind may take turns for ever: not all are remembered
then."""
_LOOK_AGAIN_SECONDS = (0.02, 0.1)


_NOT_TOLD = "Or start the process of {other!r} first: the index has not been told yet how its ids are made."
_GONE = "If {other!r} is gone, remove its documents and its entries in _meta.cdc of the index's mapping."


def first_memory(compiled: CompiledMapping, stream: Stream, index: str, now: float) -> dict[str, object]:
    """`_meta.cdc` of an index that is made for this table."""
    memory = Memory(index, {})
    source = admitted(None, stream, index, minute_at(now))
    documents, mapping = documents_in(index, compiled), carried(compiled, index)
    cdc: dict[str, object] = memory.with_table(stream.table, source, documents, mapping)["cdc"]
    return cdc


def admit(
    client: OpenSearch,
    compiled: CompiledMapping,
    index: str,
    stream: Stream,
    now: Callable[[], float],
    sleep: Callable[[float], None],
    on_changed_mapping: OnChangedMapping,
) -> bool:
    """Hold the mapping and `stream` to what `index` remembers, and have them remembered. True: documents of the table
    may be in an index that its mapping does not name.

    Raises:
        ConfigError: changes of the stream could rank below older ones that the index holds, items could share a
            document with another table's, or documents would be left behind.
        SinkUnavailable: others write there all the time.
        OpenSearchException: the index can't be read.
    """
    documents, mapping = documents_in(index, compiled), carried(compiled, index)
    moved = False
    for memory in read_memories(client, index):
        for _ in range(_MOST_TURNS):
            known = memory.documents(stream.table)
            source = admitted(memory.source(stream.table), stream, memory.index, minute_at(now()))
            found = documents_admitted(memory, compiled, documents, on_changed_mapping)
            remembered = documents if known is None else documents.after(known)
            moved |= known is None or not set(known.indices) <= set(documents.indices)
            if (memory.source(stream.table), known, memory.mapping(stream.table)) == (source, remembered, mapping):
                break
            if memory.turns >= _MANY_TURNS and memory.source(stream.table) == source and known and not _refused(found):
                _say(memory.index, compiled, found)
                break
            if write_memory(client, memory, memory.with_table(stream.table, source, remembered, mapping)):
                _say(memory.index, compiled, found)
                break
            sleep(random.uniform(*_LOOK_AGAIN_SECONDS))  # noqa: S311  (not a secret)
            (memory,) = read_memories(client, memory.index)  # noqa: PLW2901  (somebody was faster)
        else:
            raise SinkUnavailable(
                "opensearch",
                f"others write to the mapping of {memory.index} all the time",
                remedy="Start again in a minute.",
            )
    return moved


def documents_admitted(
    memory: Memory, compiled: CompiledMapping, documents: RememberedDocuments, on_changed_mapping: OnChangedMapping
) -> list[Difference]:
    """How the mapping differs from the one that the index remembers; none where it remembers none.

    Raises:
        ConfigError: another table's item could share a document with one of this table, or documents would be left
            behind and that is not accepted.
    """
    table, index, source = compiled.table, memory.index, compiled.mapping.source
    known = memory.documents(table)
    for other in memory.tables:
        theirs = memory.documents(other)
        if other == table or (theirs is None and (known is not None or memory.source(table) is not None)):
            continue  # written there side by side by an earlier version: the one that starts next sees the other
        if theirs is None or may_share(table, documents, other, theirs):
            raise shared_documents(source, index, table, other, _NOT_TOLD if theirs is None else _GONE)
    if known is None:
        return []
    if known.index != documents.index and known.index in compiled.bodies:
        raise ConfigError(
            f"{source}: {known.index!r} and {documents.index!r} are both {index}: an item's documents would be one",
            remedy="Name one of them, or let each stand for an index of its own.",
        )
    found = differences(known, documents)
    refused = _refused(found)
    if refused and on_changed_mapping == "refuse":
        raise ConfigError(
            f"{source}: the mapping has changed since the index {index} was written: "
            + "; ".join(f"{one.text}: {one.leaves}" for one in refused),
            remedy="Name a new index in the mapping and fill it from the table, or take the change back. "
            "CDC_ON_CHANGED_MAPPING=accept (on_changed_mapping) goes on, and leaves those documents behind.",
        )
    return found


def _refused(found: list[Difference]) -> list[Difference]:
    return [one for one in found if one.refused]


def _say(index: str, compiled: CompiledMapping, found: list[Difference]) -> None:
    for one in found:
        log.log(
            logging.INFO if one.harmless else logging.WARNING,
            "%s: the mapping has changed since %s was written: %s: %s%s",
            compiled.mapping.source,
            index,
            one.text,
            one.leaves,
            "; accepted, as CDC_ON_CHANGED_MAPPING (on_changed_mapping) says" if one.refused else "",
        )


def say_left(client: OpenSearch, compiled: CompiledMapping, stream: Stream) -> None:
    """Say which other indices hold documents of this table. It is asked where there may be some, not at each start."""
    from opensearchpy.exceptions import OpenSearchException

    try:
        found = client.indices.get_mapping(index="*", params={"filter_path": "*.mappings._meta.cdc"})
        ours = {memory.index for index in compiled.bodies for memory in read_memories(client, index)}
    except OpenSearchException:
        return  # this user or role may see its own indices only
    for concrete, state in found.items():
        if concrete not in ours and Memory(concrete, state.get("mappings", {})).holds(stream):
            log.warning(
                "the index %s holds documents of the table %s too, and %s does not write to it: unless another "
                "deployment does, they stay as they are, also when their items are removed; remove that index, or "
                "its documents",
                concrete,
                stream.table,
                compiled.mapping.source,
            )
