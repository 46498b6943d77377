"""Admission: a table's mapping and stream, held to what an index remembers, and remembered by it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
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

__all__ = ["OnChangedMapping", "admit", "documents_admitted", "first_memory", "hold_to_rebuild", "say_left"]

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
    memories = _with_members(client, read_memories(client, index))
    hold_to_rebuild(memories, compiled, documents)
    for memory in memories:
        for _ in range(_MOST_TURNS):
            known, theirs = memory.documents(stream.table), memory.mapping(stream.table)
            source = admitted(memory.source(stream.table), stream, memory.index, minute_at(now()))
            if known is not None and memory.rebuild is not None:  # the one mapping is the old one's, or the new one's
                found, remembered, carries = [], known, theirs
            else:
                found = documents_admitted(memory, compiled, documents, on_changed_mapping)
                remembered, carries = documents if known is None else documents.after(known), mapping
            moved |= known is None or not set(known.indices) <= set(documents.indices)
            if (memory.source(stream.table), known, theirs) == (source, remembered, carries):
                break
            if memory.turns >= _MANY_TURNS and memory.source(stream.table) == source and known and not _refused(found):
                _say(memory.index, compiled, found)
                _say_carried(memory.index, index, compiled, differs=theirs not in (None, carries))
                break
            if write_memory(client, memory, memory.with_table(stream.table, source, remembered, carries)):
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


def _with_members(client: OpenSearch, memories: list[Memory]) -> list[Memory]:
    """These, and those of the members beside them that are there."""
    there = {memory.index for memory in memories}
    others = dict.fromkeys(name for memory in memories for name in memory.members if name not in there)
    return memories + [one for name in others for one in read_memories(client, name, may_be_gone=True)]


def hold_to_rebuild(memories: Sequence[Memory], compiled: CompiledMapping, documents: RememberedDocuments) -> None:
    """While an index is rebuilt, a process may bring the mapping of the old one, or that of the new one.

    Raises:
        ConfigError: it brings a third.
    """
    rebuilt = [memory for memory in memories if memory.rebuild is not None]
    known = [found for memory in rebuilt if (found := memory.documents(compiled.table)) is not None]
    if not known or any(not differences(one, documents) for one in known):
        return
    index = documents.index
    raise ConfigError(
        f"{compiled.mapping.source}: {index} is being rebuilt, and this mapping is neither that of "
        + " nor that of ".join(memory.index for memory in rebuilt),
        remedy=f"End the rebuild first: `cdc rebuild status --index {index}` shows how far it is, "
        f"`cdc rebuild abort --index {index}` gives it up.",
    )


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
            remedy=f"Build the index anew by it: `cdc rebuild --index {documents.index}` (`cdc mappings diff` shows "
            "what would change); or take the change back. CDC_ON_CHANGED_MAPPING=accept (on_changed_mapping) "
            "goes on, and leaves those documents behind.",
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


def _say_carried(concrete: str, index: str, compiled: CompiledMapping, *, differs: bool) -> None:
    if differs:
        log.warning(
            "%s: %s has been given one mapping after the other so often that it takes no more: its documents go on to "
            "be made by the mapping that it carries. Let every process have one mapping, then: "
            "cdc rebuild --index %s",
            compiled.mapping.source,
            concrete,
            index,
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
