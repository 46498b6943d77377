"""RebuildStanding: how the rebuild of an index stands, as OpenSearch alone tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc.errors import ConfigError
from cdc.rebuilds.scratch import asked
from cdc.sinks.opensearch.memory import Memory, RebuildNote, read_memories

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["RebuildStanding", "rebuild_standing"]


@dataclass(frozen=True)
class RebuildStanding:
    """The concrete index behind an alias, and the one that is built, or stands by, beside it."""

    index: str
    """The alias that people search."""
    searched: Memory
    alias: Mapping[str, Any]
    """The properties of the alias, such as its filter."""
    beside: Memory | None = None
    """The other index of the rebuild, while it is there."""

    @property
    def note(self) -> RebuildNote | None:
        """The rebuild that is going on; None: there is none."""
        return self.searched.rebuild or (None if self.beside is None else self.beside.rebuild)

    @property
    def is_swapped(self) -> bool:
        """Do searches see the new index?"""
        return self.note is not None and self.searched.index == self.note.new


def rebuild_standing(client: OpenSearch, index: str) -> RebuildStanding:
    """The index as it stands now.

    Raises:
        ConfigError: it is not there, is no alias, or stands for several indices.
        SinkUnavailable: OpenSearch is out of reach.
    """
    remedy = f"Name an alias that a mapping names (`index`), or make it: cdc backfill --index {index}."
    what = f"the index {index} can't be read"
    if not asked(what, remedy, lambda: client.indices.exists_alias(name=index)):
        if asked(what, remedy, lambda: client.indices.exists(index=index)):
            raise ConfigError(
                f"{index} is an index and no alias: it can't be swapped for another one",
                remedy="Name a new index in the mapping, fill it by `cdc backfill`, and search that one from then on.",
            )
        raise ConfigError(f"there is no index {index}", remedy=remedy)
    found = asked(what, remedy, lambda: client.indices.get_alias(name=index))
    if len(found) != 1:
        raise ConfigError(
            f"the alias {index} stands for {len(found)} indices: {', '.join(sorted(found))}",
            remedy="Let it stand for the one that is to be rebuilt.",
        )
    ((concrete, state),) = found.items()
    (searched,) = asked(what, remedy, lambda: read_memories(client, concrete))
    note = searched.rebuild
    other = None if note is None else note.old if note.new == concrete else note.new
    beside = _beside(client, index, concrete) if other is None else _named(client, other)
    return RebuildStanding(index, searched, state["aliases"][index], beside)


def _named(client: OpenSearch, name: str) -> Memory | None:
    found = asked(f"the index {name} can't be read", "Allow it.", lambda: read_memories(client, name, may_be_gone=True))
    return found[0] if found else None


def _beside(client: OpenSearch, index: str, concrete: str) -> Memory | None:
    """One whose rebuild was about to begin, or to end, when its command was killed."""
    params = {"expand_wildcards": "all", "filter_path": "*.mappings._meta.cdc"}  # a new one is hidden
    found = asked(
        f"the indices {index}-v* can't be read",
        "Allow it.",
        lambda: client.indices.get_mapping(index=f"{index}-v*", params=params),
    )
    for name, state in found.items():
        memory = Memory(name, state.get("mappings", {}))
        if name != concrete and memory.rebuild is not None and concrete in (memory.rebuild.old, memory.rebuild.new):
            return memory
    return None
