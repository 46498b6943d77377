"""A rebuild: a new index under the changes of a consumer that has the old mapping, proven, swapped, and back again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.loads.unit import LoadStopped, PageDone
from cdc.rebuilds.facts import RebuildStep
from cdc.sinks.opensearch.members import FRESH_SECONDS
from tests.loading import LoadedTable
from tests.rebuilding import RENAMED, Dies, filled_table, numbers, put, rebuild_of, wanted


@pytest.fixture
def world() -> LoadedTable:
    """A table whose documents are in orders-v1, made by a mapping without rules."""
    return filled_table()


def test_searches_see_a_new_index_that_equals_the_table_and_the_old_one_stays_equal_too(
    world: LoadedTable, tmp_path: Path
) -> None:
    def busy(fact: object) -> None:
        """The consumer, which has the old mapping, goes on while the new index is loaded."""
        if isinstance(fact, PageDone):
            put(world, "item 3", 300)
            put(world, f"new {len(world.table.history)}", 7)
            world.table.delete(("item 4", "x"))
            world.deliver()

    result = rebuild_of(world, tmp_path, observe=busy).run("orders")
    assert result.findings[0].remaining == 0
    assert (result.note.old, result.note.new) == ("orders-v1", "orders-v2")
    put(world, "item 5", 500)
    world.deliver()
    assert numbers(world, "orders-v2", "number") == wanted(world)
    assert numbers(world, "orders-v1", "n") == wanted(world)
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]


def test_a_rollback_is_not_a_second_stale_and_the_new_one_can_be_given_up_then(
    world: LoadedTable, tmp_path: Path
) -> None:
    rebuild = rebuild_of(world, tmp_path)
    rebuild.run("orders")
    put(world, "late", 1)
    world.deliver()
    rebuild.rollback("orders")
    assert numbers(world, "orders", "n") == wanted(world)
    rebuild.abort("orders")
    put(world, "later", 2)
    world.clock.sleep(FRESH_SECONDS)
    world.deliver()
    assert numbers(world, "orders", "n") == wanted(world)
    assert not world.server.indices.exists(index="orders-v2")
    assert rebuild.standing("orders").note is None


class Asked:
    """OpenSearch, and the names of what was asked of its indices with the index that was named."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.indices = self
        self.names: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        if name == "cluster":
            return self._server.cluster

        def asked(**request: Any) -> Any:
            self.names.append((name, request.get("index", "")))
            return getattr(self._server.indices, name)(**request)

        return asked


def test_what_was_written_before_a_swap_or_a_rollback_is_searched_after_it(world: LoadedTable, tmp_path: Path) -> None:
    client: Any = Asked(world.server)
    rebuild = replace(rebuild_of(world, tmp_path), client=client)
    rebuild.run("orders")
    rebuild.rollback("orders")
    moved = [at for at, (name, _) in enumerate(client.names) if name == "update_aliases"]
    shown = [client.names[at - 1] for at in moved]
    assert shown[-2:] == [("refresh", "orders-v2"), ("refresh", "orders-v1")]


def test_a_rebuild_that_is_finished_leaves_the_new_index_alone(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(world, tmp_path)
    rebuild.run("orders")
    rebuild.finish("orders")
    put(world, "late", 1)
    world.clock.sleep(FRESH_SECONDS)
    world.deliver()
    assert numbers(world, "orders", "number") == wanted(world)
    assert not world.server.indices.exists(index="orders-v1")
    again = rebuild_of(world, tmp_path, "documents: [{index: orders}]").run("orders")
    assert again.note.new == "orders-v3"


@pytest.mark.parametrize("moment", range(5))
def test_a_rebuild_that_is_killed_at_any_step_goes_on(world: LoadedTable, tmp_path: Path, moment: int) -> None:
    facts = [0]

    def dies(_fact: object) -> None:
        facts[0] += 1
        if facts[0] == moment + 1:
            raise Dies

    with pytest.raises(Dies):
        rebuild_of(world, tmp_path, observe=dies).run("orders")
    put(world, "meanwhile", 9)
    world.deliver()
    result = rebuild_of(world, tmp_path).run("orders")
    world.deliver()
    assert numbers(world, "orders", "number") == wanted(world)
    assert result.note.new == "orders-v2"


def test_a_rebuild_is_stopped_between_pages(world: LoadedTable, tmp_path: Path) -> None:
    def stops(fact: object) -> None:
        if isinstance(fact, PageDone):
            rebuild.stop.set()

    rebuild = rebuild_of(world, tmp_path, observe=stops)
    with pytest.raises(LoadStopped):
        rebuild.run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v1"]


def test_an_alias_that_somebody_moved_meanwhile_is_left_as_it_is(world: LoadedTable, tmp_path: Path) -> None:
    def moves(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text.startswith("searches see"):
            world.server.indices.create(index="theirs")
            world.server.indices.delete_alias(index="orders-v1", name="orders")
            world.server.indices.put_alias(index="theirs", name="orders")

    with pytest.raises(ConfigError, match="can't be moved from orders-v1 to orders-v2"):
        rebuild_of(world, tmp_path, observe=moves).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["theirs"]


@pytest.mark.parametrize(
    ("mapping", "index", "said"),
    [
        ("documents: [{index: orders}]", "orders", "the mapping has not changed"),
        (RENAMED, "nowhere", "there is no index nowhere"),
        (RENAMED, "orders-v1", "is an index and no alias"),
        ("documents: [{index: others}]", "orders", "writes no document of shop to orders"),
    ],
)
def test_a_rebuild_that_can_not_be_is_refused_in_one_line(
    world: LoadedTable, tmp_path: Path, mapping: str, index: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        rebuild_of(world, tmp_path, mapping).run(index)
    assert refused.value.remedy
    assert not world.server.indices.exists(index="orders-v2")


def test_what_is_not_there_can_not_be_ended(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(world, tmp_path)
    for end in (rebuild.rollback, rebuild.finish, rebuild.abort):
        with pytest.raises(ConfigError, match="is not being rebuilt"):
            end("orders")
    rebuild.run("orders")
    with pytest.raises(ConfigError, match="searches of orders see the new index"):
        rebuild.abort("orders")
    with pytest.raises(ConfigError, match="orders was rebuilt"):
        rebuild.run("orders")


def test_a_mapping_that_the_new_index_refuses_stops_before_the_swap_unless_that_is_accepted(
    world: LoadedTable, tmp_path: Path
) -> None:
    put(world, "item 1", 1)
    world.table.put(("odd", "x"), {"n": 1, "note": "a text"})
    world.deliver()
    strict = "documents: [{index: orders, on_unfit: dead_letter, body: {mappings: {properties: {note: {type: long}}}}}]"
    with pytest.raises(ConfigError, match=r"orders-v2 does not take 1 documents") as refused:
        rebuild_of(world, tmp_path, strict).run("orders")
    assert "--accept 1" in str(refused.value.remedy)
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v1"]
    rebuild_of(world, tmp_path, strict, accept=1).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]


def test_two_rebuilds_at_once_are_one(world: LoadedTable, tmp_path: Path) -> None:
    second: list[Any] = []

    def both(fact: object) -> None:
        if isinstance(fact, PageDone) and not second:
            second.append(None)
            second[0] = rebuild_of(world, tmp_path).run("orders")

    with pytest.raises(ConfigError, match="can't be moved"):  # the second one was there first
        rebuild_of(world, tmp_path, observe=both).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]
    assert numbers(world, "orders", "number") == wanted(world)


def test_the_plans_tell_the_price_and_write_nothing(world: LoadedTable, tmp_path: Path) -> None:
    (plan,) = rebuild_of(world, tmp_path).plans("orders")
    assert plan.table == "shop"
    assert not world.server.indices.exists(index="orders-v2")
