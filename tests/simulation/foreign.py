"""Foreign writers: one writes to the table at a bad time; another alters documents, and asks for no version."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.records.attributes import RawItem
from cdc.testing.simulated.leases import Gap
from tests.simulation.differences import Place
from tests.simulation.plan import key_of
from tests.simulation.truth import INDICES

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["ForeignWriter"]

_DOCUMENT: dict[str, Any] = {"pk": "foreign", "n": 0}

_TURNS = 40


@dataclass(frozen=True)
class ForeignWriter:
    """Writes to the table and the indices of a world."""

    world: World

    def tamper(self, item: int, amount: int) -> None:
        """Remove or alter the document of an item, or add one of nobody."""
        index, identifier = INDICES[amount % 2], "|".join(key_of(item))
        found = self.world.server.documents(index).get(identifier)
        if found is not None and TOMBSTONE_FIELD not in found[1]:
            self._write(index, identifier, {**_DOCUMENT, "n": found[1]["n"]} if amount % 3 else None)
        else:
            self._write(index, f"{identifier} of nobody", _DOCUMENT)

    def plant(self) -> dict[Place, str]:
        """Remove, alter and add a document; what a verification should call each of them."""
        server, chance = self.world.server, self.world.chance
        whole = [
            (index, identifier)
            for index in INDICES
            for identifier, (_, source) in sorted(server.documents(index).items())
            if TOMBSTONE_FIELD not in source and not self.world.checker.is_kept(identifier)
        ]
        planted: dict[Place, str] = {}
        chosen = chance.sample(whole, min(2, len(whole)))
        for kind, (index, identifier) in zip(("missing", "stale"), chosen, strict=False):
            number = server.documents(index)[identifier][1]["n"]
            self._write(index, identifier, None if kind == "missing" else {**_DOCUMENT, "n": number})
            planted[index, identifier] = kind
        self._write(INDICES[0], "nobody|nothing", _DOCUMENT)
        planted[INDICES[0], "nobody|nothing"] = "ghost"
        return planted

    def overtake(self, item: RawItem) -> None:
        """Write or delete an item; the consumers are faster than whoever read it, and OpenSearch forgets."""
        world = self.world
        if not world.table.exists:
            return
        key = item["pk"]["S"], item["sk"]["S"]
        if world.chance.random() < 0.3:
            world.put(key)
        else:
            world.table.delete(key)
        if world.kinesis is not None:
            world.kinesis.settle()
        for _ in range(_TURNS):
            if world.is_drained:
                break
            with suppress(Gap):
                world.turn()
        world.server.restart(0.0)

    def _write(self, index: str, identifier: str, source: Mapping[str, Any] | None) -> None:
        self.world.server.tamper(index, identifier, source)
        self.world.checker.changed()
