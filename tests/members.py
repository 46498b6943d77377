"""Indices with a second member, as a rebuild makes one."""

from __future__ import annotations

from typing import Any

from cdc.mappings.compiled import CompiledMapping
from cdc.records.stream import Stream
from cdc.sinks.opensearch.admission import first_memory
from cdc.sinks.opensearch.bodies import index_body
from cdc.sinks.opensearch.memory import Memory, RebuildNote, read_memories, write_memory

__all__ = ["NOTE", "join", "leave", "new_member"]

NOTE = RebuildNote("job-1", "orders-v1", "orders-v2")


def new_member(client: Any, compiled: CompiledMapping, stream: Stream, *, index: str = "orders", now: float) -> str:
    """Make `<index>-v2`, which carries this mapping, and knows its members; no index beside it does."""
    body = index_body(compiled.bodies[index], tombstones=index in compiled.tombstoned)
    body["mappings"]["_meta"]["cdc"].update(first_memory(compiled, stream, index, now))
    old, new = f"{index}-v1", f"{index}-v2"
    memory = Memory(new, body["mappings"])
    body["mappings"]["_meta"] = memory.with_members([old, new], RebuildNote(NOTE.job, old, new))
    client.indices.create(index=new, body=body)
    return new


def join(client: Any, *, index: str = "orders") -> None:
    """The old one gets the new one as its member."""
    (memory,) = read_memories(client, index)
    new = f"{index}-v2"
    assert write_memory(
        client, memory, memory.with_members([memory.index, new], RebuildNote("job-1", memory.index, new))
    )


def leave(client: Any, stays: str) -> None:
    """This one has no member beside it any more."""
    (memory,) = read_memories(client, stays)
    assert write_memory(client, memory, memory.with_members([stays], None))
