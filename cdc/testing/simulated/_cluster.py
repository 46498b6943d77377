"""The cluster behind the simulated OpenSearch's client: its indices by name, and whether it can be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults
from cdc.testing.simulated._index import SimulatedIndex, flat_settings
from cdc.testing.simulated._refusals import index_not_found, no_connection, refused, timed_out

__all__ = ["Cluster"]

_LOOKUP_FAULTS = {"503": 1.0, "timeout": 1.0}


class Cluster:
    """Indices and aliases. An alias's filter is found by `filter_of`."""

    def __init__(self, clock: SimulatedClock, faults: Faults | None) -> None:
        self.clock = clock
        self.faults = faults
        self.timeout_seconds = 10.0
        self.indices: dict[str, SimulatedIndex] = {}
        self.vanished: Callable[[str], None] = lambda _name: None
        self._down_until = 0.0

    @property
    def down(self) -> bool:
        """Is nobody listening?"""
        return self.clock() < self._down_until

    def draw(self, place: str, kinds: Mapping[str, float]) -> str | None:
        """A fault, or None; every request passes here.

        Raises:
            ConnectionError: the server is down.
        """
        if self.down:
            raise no_connection("connection refused")
        return None if self.faults is None else self.faults.draw(place, kinds)

    def look(self) -> None:
        """Every request but a bulk passes here: it may fail, and then nothing is done."""
        match self.draw("opensearch lookup", _LOOKUP_FAULTS):
            case "503":
                raise refused(503, "unavailable_shards_exception", "no shard is ready")
            case "timeout":
                self.clock.sleep(self.timeout_seconds)
                raise timed_out(self.timeout_seconds)

    def restart(self, down_seconds: float) -> None:
        """Forget what a restart forgets; answer again after `down_seconds`."""
        self._down_until = self.clock() + down_seconds
        for index in self.indices.values():
            index.forget_deletes()

    def target(self, name: str) -> tuple[Sequence[SimulatedIndex], bool]:
        """The indices that a write to this very name lands in, and whether it is an alias."""
        index = self.indices.get(name)
        if index is not None:
            return [index], False
        behind = [index for index in self.indices.values() if name in index.aliases]
        return behind, bool(behind)

    def resolve(self, names: str, *, may_be_gone: bool = False) -> list[SimulatedIndex]:
        """The indices of names, aliases or patterns, parted by commas; with `may_be_gone` those that there are.

        Raises:
            NotFoundError: a name that is no pattern is neither.
        """
        found: dict[str, SimulatedIndex] = {}
        for name in names.split(","):
            if "*" in name or name == "_all":
                pattern = "*" if name == "_all" else name
                indices = [
                    index
                    for index in self.indices.values()
                    if any(fnmatchcase(known, pattern) for known in (index.name, *index.aliases))
                ]
            else:
                indices = list(self.target(name)[0])
                if not indices and not may_be_gone:
                    raise index_not_found(name)
            found.update((index.name, index) for index in indices)
        return list(found.values())

    def filter_of(self, names: str, index: SimulatedIndex) -> Mapping[str, Any] | None:
        """The filter that an alias puts on an index; None shows all documents."""
        return None if names == index.name else index.aliases.get(names, {}).get("filter")

    def make(self, name: str, body: Mapping[str, Any] | None = None) -> SimulatedIndex:
        """Make an index.

        Raises:
            RequestError: the name, or an alias's name, is taken or not allowed.
        """
        if name in self.indices:
            raise refused(400, "resource_already_exists_exception", f"index [{name}] already exists", index=name)
        reason = (
            "already exists as alias"
            if self.target(name)[0]
            else "must be lowercase"
            if name != name.lower()
            else "must not start with '_', '-', or '+'"
            if name.startswith(("_", "-", "+"))
            else None
        )
        if reason:
            raise refused(400, "invalid_index_name_exception", f"Invalid index name [{name}], {reason}", index=name)
        body = body or {}
        index = SimulatedIndex(
            name,
            settings=flat_settings(body.get("settings", {})),
            mappings=dict(body.get("mappings", {})),
        )
        for alias, about in body.get("aliases", {}).items():
            self.add_alias(index, alias, about)
        self.indices[name] = index
        return index

    def add_alias(self, index: SimulatedIndex, alias: str, about: Mapping[str, Any] | None) -> None:
        """Put an index behind an alias.

        Raises:
            RequestError: there is an index of that name.
        """
        if alias in self.indices:
            reason = f"Invalid alias name [{alias}], an index exists with the same name as the alias"
            raise refused(400, "invalid_alias_name_exception", reason, index=alias)
        index.aliases[alias] = dict(about or {})

    def remove(self, name: str) -> None:
        """Take an index away, with its aliases and all that it remembers."""
        del self.indices[name]
        self.vanished(name)
