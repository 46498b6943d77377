"""Rebuilds of a table's index on simulated servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdc.loads.jobs import FolderObjects
from cdc.loads.planning import LoadOptions
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.rebuilds.rebuild import Rebuild
from tests.loading import LoadedTable

__all__ = ["RENAMED", "Dies", "filled_table", "numbers", "put", "rebuild_of", "wanted"]

RENAMED = "documents: [{index: orders, fields: {rename: {n: number}}}]"


def put(world: LoadedTable, name: str, number: int) -> None:
    world.table.put((name, "x"), {"n": number})


def rebuild_of(
    world: LoadedTable,
    folder: Path,
    mapping: str = RENAMED,
    observe: Callable[[object], None] = lambda _fact: None,
    **options: Any,
) -> Rebuild:
    mappings = Mappings((parse_mapping(f"table: shop\n{mapping}", source="shop.yml"),))
    client: Any = world.server
    return Rebuild(
        world.deployment,
        client,
        mappings,
        FolderObjects(folder),
        LoadOptions(workers=1),
        observe=observe,
        **options,
    )


def numbers(world: LoadedTable, index: str, field: str) -> dict[str, int]:
    return {name: source[field] for name, (_, source) in world.server.documents(index).items()}


def wanted(world: LoadedTable) -> dict[str, int]:
    return world.wanted()


class Dies(BaseException):
    """The command is killed."""


def filled_table() -> LoadedTable:
    """A table whose documents are in orders-v1, made by a mapping without rules."""
    world = LoadedTable()
    for number in range(30):
        put(world, f"item {number}", number)
    world.deliver()
    return world
