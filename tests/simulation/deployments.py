"""Mapping files of a simulation: which of them a process has that starts now."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property

from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.sinks.opensearch.memory import Memory
from cdc.testing.simulated.opensearch import SimulatedOpenSearch
from tests.simulation.plan import Plan
from tests.simulation.truth import RENAMED, is_of_changed_file

__all__ = ["MappingFiles"]

_REBUILT = "orders"


class MappingFiles:
    """Two files, in turns: while the index is rebuilt some processes have one and some the other; else all that start
    have that of the index which is searched."""

    def __init__(self, plan: Plan, server: SimulatedOpenSearch, chance: random.Random) -> None:
        self._plan = plan
        self._server = server
        self._chance = chance

    @cached_property
    def _files(self) -> tuple[Mappings, Mappings]:
        return self._parsed(""), self._parsed(f", fields: {{rename: {{{RENAMED[0]}: {RENAMED[1]}}}}}")

    def deployed(self) -> Mappings:
        """The file of a process that starts now."""
        files = self.in_use()
        return files[0] if len(files) == 1 else self._chance.choice(files)

    def in_use(self) -> Sequence[Mappings]:
        """The files that a process may start with now."""
        if not self._plan.rebuilds:
            return self._files[:1]
        searched = self.searched
        if searched is None:
            return self._files[:1]
        return self._files if searched.rebuild else [self._files[is_of_changed_file(searched.index)]]

    def of_rebuild(self) -> Mappings:
        """The file that the index is to be rebuilt by, or is being rebuilt by."""
        searched = self.searched
        if searched is None or searched.rebuild is None:
            return self._files[searched is None or not is_of_changed_file(searched.index)]
        return self._files[is_of_changed_file(searched.rebuild.new)]

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
