"""Mapping files of a simulation: which of them a process has that starts now."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.sinks.opensearch.memory import Memory, RebuildNote
from cdc.testing.simulated.opensearch import SimulatedOpenSearch
from tests.simulation.plan import Plan
from tests.simulation.truth import RENAMED

__all__ = ["MappingFiles"]

_REBUILT = "orders"


class MappingFiles:
    """Two files, in turns: while the index is rebuilt some processes have one and some the other; else all that start
    have that of the index which is searched."""

    def __init__(self, plan: Plan, server: SimulatedOpenSearch, chance: random.Random) -> None:
        self._plan = plan
        self._server = server
        self._chance = chance
        self._made: dict[str, bool] = {}

    def made(self, concrete: str, body: Mapping[str, Any]) -> None:
        """A new index is made by one of the files."""
        mappings = body["mappings"]["_meta"]["cdc"]["mappings"]
        self._made[concrete] = any("rename" in rule for table in mappings.values() for rule in table["rules"])

    def is_changed(self, concrete: str) -> bool:
        """Are its documents made by the changed file?"""
        return self._made.get(concrete, False)

    @cached_property
    def _files(self) -> tuple[Mappings, Mappings]:
        return self._parsed(""), self._parsed(f", fields: {{rename: {{{RENAMED[0]}: {RENAMED[1]}}}}}")

    def deployed(self) -> Mappings:
        """The file of a process that starts now."""
        files = self.in_use()
        return files[0] if len(files) == 1 else self._chance.choice(files)

    def in_use(self) -> Sequence[Mappings]:
        """The files that a process may start with now."""
        searched = self.searched
        if not self._plan.rebuilds or searched is None:
            return self._files[:1]
        return self._files if searched.rebuild else [self._files[self.is_changed(searched.index)]]

    def of_rebuild(self) -> Mappings:
        """The file that the index is to be rebuilt by, or is being rebuilt by."""
        searched, note = self.searched, self.note
        if note is not None:
            return self._files[self.is_changed(note.new)]
        return self._files[searched is None or not self.is_changed(searched.index)]

    @property
    def note(self) -> RebuildNote | None:
        """The rebuild that is under way."""
        searched = self.searched
        if searched is None or searched.rebuild is not None:
            return None if searched is None else searched.rebuild
        notes = [self.memory(name).rebuild for name in self.concretes(_REBUILT)]
        return next((note for note in notes if note is not None and searched.index in (note.old, note.new)), None)

    def concretes(self, index: str) -> Sequence[str]:
        """The concrete indices of an index that are there."""
        return [name for number in range(1, 10) for name in self._server.behind(f"{index}-v{number}")]

    @property
    def searched(self) -> Memory | None:
        """The memory of the concrete index that searches see, whatever fails at the moment."""
        return next((self.memory(name) for name in self._server.behind(_REBUILT)), None)

    def memory(self, concrete: str) -> Memory:
        """The memory of a concrete index."""
        return Memory(concrete, self._server.mapping_of(concrete))

    def _parsed(self, fields: str) -> Mappings:
        unfit = "dead_letter" if self._plan.poison else "set_aside"
        rules = f"on_remove: {self._plan.on_remove}, on_unfit: {unfit}"
        return Mappings(
            (
                parse_mapping(
                    "table: shop\n"
                    "documents:\n"
                    f"  - {{index: orders, {rules}, where: {{status: [{{anything-but: draft}}]}}{fields}}}\n"
                    f"  - {{index: drafts, {rules}, where: {{status: [draft]}}}}\n",
                    source="shop.yml",
                ),
            )
        )
