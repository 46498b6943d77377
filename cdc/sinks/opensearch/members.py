"""Members: the concrete indices that get every document of an index, and the mapping that each of them carries.

While an index is rebuilt the old and the new one are its members. What a process knows of them is read again before a
batch if it is older than `FRESH_SECONDS`. So from a while after an index has joined on every batch reaches it, whatever
was frozen or killed: a batch that was fetched before holds older changes alone, which the load of the new one shows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from cdc.causes import CauseKind
from cdc.deadline import Clock, Deadline
from cdc.errors import SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.identity import differences, documents_in
from cdc.sinks.opensearch.carried import CarriedMapping, carried, compiled_from
from cdc.sinks.opensearch.client import within
from cdc.sinks.opensearch.memory import Memory
from cdc.sinks.opensearch.targets import Targets

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["FRESH_SECONDS", "KNOWN_SECONDS", "Members", "Standing", "standing_of"]

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""No batch begins by older knowledge of an index's members."""
KNOWN_SECONDS = 15.0
"""No request is sent by older knowledge: so long after a change of the members every process heeds it."""

_ASKED = "*.mappings._meta.cdc"


@dataclass(frozen=True)
class Standing:
    """An index as it stands: the memories of its members, that of the one which is searched first."""

    index: str
    """The name in the mapping."""
    memories: tuple[Memory, ...] = ()
    """None where the index remembers nothing, or its name stands for several that are no members of each other."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The names that writes are sent to: of one member that in the mapping, of several their own."""
        return tuple(memory.index for memory in self.memories) if len(self.memories) > 1 else (self.index,)

    def compiled(self, own: CompiledMapping, *, mended: bool = False) -> CompiledMapping:
        """The documents of a table in this index, as each member makes them by the mapping that it carries.

        Args:
            own: the mapping of this process; it holds where a member carries none.
            mended: `own` may be mended already, for documents that the carried one could not make: it holds where it
                would leave nothing behind, unless the index is being rebuilt.

        Raises:
            ConfigError: a member carries a mapping that can't be used here, such as one with a transform that is not
                here.
        """
        mine, theirs = carried(own, self.index), self._mappings(own)
        if mended and len(self.memories) == 1 and self._leaves_nothing(own):
            theirs = [None]
        found = [self._of_member(own, mine, *place) for place in zip(self.addresses, theirs, strict=True)]
        return replace(own, owners=tuple(owner for one in found for owner in one.owners))

    def searched(self, own: CompiledMapping) -> CompiledMapping:
        """The same of the member that is searched alone, under the name in the mapping."""
        return self._of_member(own, carried(own, self.index), self.index, self._mappings(own)[0])

    def _leaves_nothing(self, own: CompiledMapping) -> bool:
        (memory,) = self.memories
        known = memory.documents(own.table)
        return known is None or not any(one.refused for one in differences(known, documents_in(self.index, own)))

    def _mappings(self, own: CompiledMapping) -> list[CarriedMapping | None]:
        return [memory.mapping(own.table) for memory in self.memories] or [None]

    def _of_member(
        self, own: CompiledMapping, mine: CarriedMapping, address: str, theirs: CarriedMapping | None
    ) -> CompiledMapping:
        if address == self.index and theirs in (None, mine):
            return replace(own, owners=tuple(owner for owner in own.owners if owner.index == self.index))
        return compiled_from(theirs or mine, own.table, own.keys, address, own.mapping.source)


def standing_of(client: OpenSearch, index: str) -> Standing:
    """The index as it stands now.

    Raises:
        OpenSearchException: it can't be read.
    """
    searched = _memories(client, index)
    if len(searched) != 1:
        return Standing(index)
    ((name, memory),) = searched.items()
    others = [member for member in memory.members if member != name]
    if not others or name not in memory.members:
        return Standing(index, (memory,))
    beside = _memories(client, ",".join(others), ignore_unavailable=True)
    return Standing(index, (memory, *(beside[member] for member in others if member in beside)))


def _memories(client: OpenSearch, index: str, **more: bool) -> dict[str, Memory]:
    params: dict[str, Any] = {"filter_path": _ASKED, **{name: str(value).lower() for name, value in more.items()}}
    found = client.indices.get_mapping(index=index, params=params)
    return {name: Memory(name, state.get("mappings", {})) for name, state in found.items()}


@dataclass(frozen=True, slots=True)
class _Known:
    standing: Standing
    read_at: float
    read_on: float
    """By the clock on the wall, which goes on where the process is frozen."""


class Members:
    """The knowledge that a process has of its indices' members. Threads may ask at the same time."""

    def __init__(
        self,
        client: OpenSearch,
        targets: Targets,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._client = client
        self._targets = targets
        self._clock = clock
        self._now = now
        self._timeout_seconds = timeout_seconds
        self._known: dict[str, _Known] = {}
        self._lock = Lock()

    def fresh(self, index: str, deadline: Deadline) -> Standing:
        """The index as it stood less than `FRESH_SECONDS` ago; the same object as long as nothing has changed.

        Raises:
            SinkUnavailable: it can't be read.
        """
        with self._lock:
            known = self._known.get(index)
            if known is None or self._age(known) >= FRESH_SECONDS:
                known = self._known[index] = self._read(index, deadline, known)
            return known.standing

    def searched(self, own: CompiledMapping, deadline: Deadline) -> CompiledMapping:
        """The mapping of a table, for each index as that member makes the documents which is searched.

        Raises:
            ConfigError: it carries a mapping that can't be used here.
            SinkUnavailable: an index can't be read.
        """
        found = [self.fresh(index, deadline).searched(own) for index in own.bodies]
        owners = tuple(owner for one in found for owner in one.owners)
        return own if owners == own.owners else replace(own, owners=owners)

    def are_known(self, indices: Iterable[str]) -> bool:
        """Is what is known of these younger than `KNOWN_SECONDS`?"""
        found = [self._known.get(index) for index in indices]
        return all(known is not None and self._age(known) < KNOWN_SECONDS for known in found)

    def forget(self, indices: Iterable[str]) -> None:
        """Doubt what is known of these: it is read again before the next batch."""
        with self._lock:
            for index in indices:
                known = self._known.get(index)
                if known is not None:
                    self._known[index] = replace(known, read_at=self._clock() - FRESH_SECONDS)

    def _age(self, known: _Known) -> float:
        passed = self._now() - known.read_on
        if passed < 0:  # the clock on the wall was set back: it tells nothing
            return FRESH_SECONDS + KNOWN_SECONDS
        return max(passed, self._clock() - known.read_at)

    def _read(self, index: str, deadline: Deadline, known: _Known | None) -> _Known:
        from opensearchpy.exceptions import NotFoundError, OpenSearchException

        read_at, read_on = self._clock(), self._now()
        try:
            standing = standing_of(within(self._client, deadline, self._timeout_seconds), index)
        except NotFoundError as error:
            raise SinkUnavailable(
                "opensearch",
                f"the index {index} has vanished",
                remedy="Restore the index or its alias, then restart the consumer.",
                kind=CauseKind.INDEX_VANISHED,
            ) from error
        except OpenSearchException as error:
            status = getattr(error, "status_code", "")
            raise SinkUnavailable(
                "opensearch",
                f"the members of {index} can't be read: {type(error).__name__} {status}".rstrip(),
                remedy="Check that the server is up, and that this user or role may read the index's mapping.",
                kind=CauseKind.OVERLOADED if status == 429 else CauseKind.OUT_OF_REACH,
            ) from error
        if known is not None and known.standing == standing:
            return _Known(known.standing, read_at, read_on)
        self._note(standing, known)
        return _Known(standing, read_at, read_on)

    def _note(self, standing: Standing, known: _Known | None) -> None:
        if len(standing.memories) > 1:
            for address in standing.addresses:
                self._targets.add(address, aliased=False)
        if known is None or known.standing.addresses != standing.addresses:
            several = len(standing.memories) > 1
            if several or known is not None:
                log.info("the documents of %s are written to %s", standing.index, " and ".join(standing.addresses))
