"""Ghosts without an archive: the items of the documents that stand as the load wrote them are looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.loads.changes import loaded_version
from cdc.loads.ghosts import close_by_lookup
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.provenance import RememberedSource
from cdc.testing import SimulatedDocuments
from tests.loading import LoadedTable

LONG = "k" * 600
"""A key whose id is a digest."""
LIVE = "where: {live: [{anything-but: [false]}]}"


def haunted(mapping: str, *keys: tuple[Any, ...], delivered: bool = True) -> LoadedTable:
    """A table whose items were read, then deleted, which OpenSearch has forgotten, and then written."""
    world = LoadedTable(mapping)
    for number, key in enumerate(keys):
        world.table.put(key, {"n": number, "live": True})
    page = world.page()
    for key in keys:
        world.table.delete(key)
    if delivered:
        world.deliver()
    world.forget()
    world.write(page)
    assert len(world.documents()) == len(keys)
    return world


def closed(world: LoadedTable, **about: Any) -> int:
    version = loaded_version(world.stream, world.clock.micros)
    source = replace(world.deployment.pages.describe("shop"), **about)
    return close_by_lookup(world.deployment, world.compiled, source, world.stream, (version, version))


class Shared(SimulatedDocuments):
    """An index that remembers another table too."""

    def sources(self, index: str) -> Mapping[str, Sequence[RememberedSource]]:
        return {**super().sources(index), "another": []}


@pytest.mark.parametrize(
    "key", [("a|b%", "x"), (Decimal("12.5"), "x"), (-7, 10**30), (b"\x00\xff\xfe", "x"), ("a", b"\xfb")], ids=str
)
def test_keys_of_every_type_are_told_by_the_id(key: tuple[Any, ...]) -> None:
    world = haunted("documents: [{index: orders}]", key)
    assert closed(world) == 1
    assert world.documents() == {}


@pytest.mark.parametrize(
    "mapping",
    [
        'documents: [{index: orders, id: ["{table}", sk, pk]}]',
        "documents: [{index: orders, id: [sk], where: {pk: [a]}}]",
        "documents: [{index: orders, routing: pk}]",
    ],
)
def test_the_mapping_makes_the_id(mapping: str) -> None:
    world = haunted(mapping, ("a", "1"), ("a", "2"))
    assert closed(world) == 2
    assert world.documents() == {}


def test_documents_whose_items_are_there_stay() -> None:
    world = haunted("documents: [{index: orders}]", ("a", "1"), ("b", "1"))
    world.table.put(("a", "1"), {"n": 7})  # it is in the table again, and its record is still to come
    assert closed(world) == 1
    assert list(world.documents()) == ["a|1"]
    world.deliver()
    assert world.documents() == world.wanted()


def test_documents_that_have_changed_since_are_not_looked_up() -> None:
    world = LoadedTable()
    world.table.put(("a", "1"), {"n": 1})
    world.deliver()
    world.deployment = replace(world.deployment, items=None)  # type: ignore[arg-type]  # it would fail
    assert closed(world) == 0


def test_a_document_that_may_rightly_stay_without_an_item_stays_and_one_that_has_left_goes() -> None:
    world = LoadedTable(f"documents: [{{index: orders, {LIVE}, on_remove: keep}}]")
    world.table.put(("gone", "x"), {"n": 1, "live": True})
    world.table.put(("left", "x"), {"n": 2, "live": True})
    page = world.page()
    world.table.delete(("gone", "x"))
    world.table.put(("left", "x"), {"n": 2, "live": False})
    world.deliver()
    world.forget()
    world.write(page)
    assert closed(world) == 1
    assert list(world.documents()) == ["gone|x"]


@pytest.mark.parametrize("on_remove", ["delete", "tombstone"])
def test_ids_that_are_digests_are_told_by_a_scan_of_the_table(on_remove: str) -> None:
    mapping = f"documents: [{{index: orders, {LIVE}, on_remove: {on_remove}}}]"
    world = haunted(mapping, (LONG, "gone"), (LONG, "left"), (LONG, "stays"), delivered=on_remove == "delete")
    world.table.put((LONG, "left"), {"n": 1, "live": False})
    world.table.put((LONG, "stays"), {"n": 2, "live": True})
    assert closed(world) == 2
    assert list(world.documents().values()) == [2]
    held = [source for _, source in world.server.documents("orders").values()]
    assert sum(TOMBSTONE_FIELD in source for source in held) == (2 if on_remove == "tombstone" else 0)


def test_a_digest_that_may_be_another_table_s_stays(caplog: pytest.LogCaptureFixture) -> None:
    world = haunted('documents: [{index: orders, id: ["{table}", pk, sk]}]', (LONG, "gone"), ("short", "x"))
    world.deployment = replace(world.deployment, documents=Shared(world.server))
    assert closed(world) == 1
    assert len(world.documents()) == 1
    assert "other tables write to the index too" in caplog.text
    assert LONG not in caplog.text


def test_a_table_that_was_replaced_is_refused() -> None:
    world = haunted("documents: [{index: orders}]", ("a", "1"))
    with pytest.raises(ConfigError, match="the table shop was replaced"):
        closed(world, id="another")
    assert len(world.documents()) == 1
