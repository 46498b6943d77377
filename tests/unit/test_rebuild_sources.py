"""A rebuild by its sources, its end and its troubles."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.loads.backfill import StepBegan
from cdc.loads.deployment import ExportClients
from cdc.loads.unit import PageDone
from cdc.rebuilds.facts import FillSource, RebuildStep, SourceKind
from cdc.rebuilds.rebuild import Rebuild
from cdc.sinks.opensearch.memory import RebuildNote, read_memories, write_memory
from cdc.testing.simulated.exports import SimulatedExports
from consumers.pipelines import LOAD
from tests.loading import LoadedTable
from tests.rebuilding import RENAMED, Dies, filled_table, numbers, put, rebuild_of, wanted


@pytest.fixture
def world() -> LoadedTable:
    """A table whose documents are in orders-v1, made by a mapping without rules."""
    return filled_table()


# --- where the documents come from


def exported(world: LoadedTable) -> str:
    """An export of the table as it is now."""
    return SimulatedExports(world.table, world.s3, world.clock, random.Random(1)).export()  # noqa: S311  (no secret)


def with_exports(world: LoadedTable, rebuild: Rebuild) -> Rebuild:
    """A deployment that can read exports."""
    clients: Any = ExportClients(None, world.s3)  # type: ignore[arg-type]  # none is asked for
    return replace(rebuild, deployment=replace(rebuild.deployment, exports=clients))


def test_an_index_is_rebuilt_from_an_export_that_is_older_than_the_rebuild(world: LoadedTable, tmp_path: Path) -> None:
    world.clock.sleep(1)
    location = exported(world)
    world.clock.sleep(3600)
    put(world, "item 1", 100)
    put(world, "new", 7)
    world.table.delete(("item 2", "x"))
    world.deliver()
    source = FillSource(SourceKind.EXPORT, location)
    result = with_exports(world, rebuild_of(world, tmp_path, source=source)).run("orders")
    assert (result.items, result.findings[0].remaining) == (30, 0)
    assert numbers(world, "orders", "number") == wanted(world)


def test_an_index_is_rebuilt_from_the_archive_and_what_that_lacks_is_read_from_the_table(
    world: LoadedTable, tmp_path: Path
) -> None:
    put(world, "item 1", 100)
    world.table.delete(("item 2", "x"))
    put(world, "not archived", 7)
    world.deliver(2)
    world.deliver(archived=False)
    result = rebuild_of(world, tmp_path, source=FillSource(SourceKind.ARCHIVE)).run("orders")
    assert (result.items, result.findings[0].remaining) == (32, 0)
    assert result.findings[0].repaired == {"missing": 1}
    assert numbers(world, "orders", "number") == wanted(world)


def test_a_replay_that_is_done_is_not_repeated_when_the_rebuild_goes_on(world: LoadedTable, tmp_path: Path) -> None:
    source, steps = FillSource(SourceKind.ARCHIVE), list[str]()

    def dies_behind_the_replay(fact: object) -> None:
        if isinstance(fact, RebuildStep):
            steps.append(fact.text)
            if fact.text.startswith("verifying") and len(steps) < 5:
                raise Dies

    with pytest.raises(Dies):
        rebuild_of(world, tmp_path, source=source, observe=dies_behind_the_replay).run("orders")
    rebuild_of(world, tmp_path, source=source, observe=dies_behind_the_replay).run("orders")
    assert sum(step.startswith("replaying") for step in steps) == 1
    assert numbers(world, "orders", "number") == wanted(world)


def test_an_archive_that_leaves_out_what_documents_are_made_of_is_refused(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(
        world, tmp_path, f"archive: {{exclude: [n]}}\n{RENAMED}", source=FillSource(SourceKind.ARCHIVE)
    )
    with pytest.raises(ConfigError, match=r"archive.exclude leaves out 'n'") as refused:
        rebuild.plans("orders")
    assert "cdc backfill" in str(refused.value.remedy)


def test_a_new_export_has_its_own_price_and_none_is_asked_for_by_the_plan(world: LoadedTable, tmp_path: Path) -> None:
    source = FillSource(SourceKind.EXPORT, export_now="s3://exports/2026")
    (plan,) = with_exports(world, rebuild_of(world, tmp_path, source=source)).plans("orders")
    assert (plan.read_units, plan.export) == (0.0, None)


# --- the end


def test_an_old_index_that_is_not_to_be_kept_is_deleted_behind_the_swap(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(world, tmp_path, keep_seconds=0)
    rebuild.run("orders")
    assert not world.server.indices.exists(index="orders-v1")
    assert rebuild.standing("orders").note is None


def test_a_rebuild_that_is_killed_behind_the_swap_deletes_the_old_index_when_it_goes_on(
    world: LoadedTable, tmp_path: Path
) -> None:
    def dies(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text.startswith("waiting") and swapped():
            raise Dies

    def swapped() -> bool:
        return list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]

    with pytest.raises(Dies):
        rebuild_of(world, tmp_path, keep_seconds=0, observe=dies).run("orders")
    assert world.server.indices.exists(index="orders-v1")
    result = rebuild_of(world, tmp_path, keep_seconds=0).run("orders")
    assert result.findings[0].equal == len(wanted(world))
    assert not world.server.indices.exists(index="orders-v1")


def test_the_status_tells_until_when_the_old_index_is_to_be_kept(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(world, tmp_path, keep_seconds=3600)
    assert rebuild.kept_until(rebuild.standing("orders")) is None
    rebuild.run("orders")
    assert rebuild.kept_until(rebuild.standing("orders")) == world.clock() + 3600


def test_what_is_asked_before_the_swap_can_stop_it(world: LoadedTable, tmp_path: Path) -> None:
    class Differs(Exception):
        pass

    def differs(note: Any) -> None:
        assert numbers(world, note.new, "number") == wanted(world)
        raise Differs

    with pytest.raises(Differs):
        rebuild_of(world, tmp_path, before_swap=differs).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v1"]
    rebuild_of(world, tmp_path).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]


# --- trouble


def test_a_new_index_has_no_replicas_and_no_refreshes_until_it_is_whole(world: LoadedTable, tmp_path: Path) -> None:
    held: list[dict[str, Any]] = []

    def looks(fact: object) -> None:
        if isinstance(fact, PageDone):
            held.append(settings())

    def settings() -> dict[str, Any]:
        flat = world.server.indices.get_settings(index="orders-v2", params={"flat_settings": "true"})
        return {name: flat["orders-v2"]["settings"].get(f"index.{name}") for name in names}

    names = ("refresh_interval", "number_of_replicas", "hidden")
    body = "body: {settings: {refresh_interval: 5s}}"
    mapping = f"documents: [{{index: orders, fields: {{rename: {{n: number}}}}, {body}}}]"
    rebuild_of(world, tmp_path, mapping, observe=looks).run("orders")
    assert held[0] == {"refresh_interval": "-1", "number_of_replicas": "0", "hidden": "true"}
    assert settings() == {"refresh_interval": "5s", "number_of_replicas": None, "hidden": "false"}


def test_an_index_of_the_next_name_that_is_there_is_left_alone(world: LoadedTable, tmp_path: Path) -> None:
    world.server.indices.create(index="orders-v2")
    assert rebuild_of(world, tmp_path).run("orders").note.new == "orders-v3"
    assert world.server.documents("orders-v2") == {}


def test_a_full_disk_is_waited_for_and_the_searched_index_stays_as_it_is(world: LoadedTable, tmp_path: Path) -> None:
    full = {"kind": "read_only_allow_delete"}
    waits: list[float] = []

    def fills_up(fact: object) -> None:
        if isinstance(fact, PageDone) and not waits:
            waits.append(0)
            world.server.block("orders-v2", True, **full)

    def somebody_makes_room(seconds: float) -> None:
        world.clock.sleep(seconds)
        waits.append(seconds)
        if sum(waits) > 60:
            assert list(world.server.indices.get_alias(name="orders")) == ["orders-v1"]
            world.server.block("orders-v2", False, **full)

    pipelines = world.runtime.pipelines
    world.deployment = replace(
        world.deployment, load_sink=lambda sink: pipelines.around(sink, LOAD, somebody_makes_room)
    )
    rebuild_of(world, tmp_path, observe=fills_up).run("orders")
    assert sum(waits) > 60
    put(world, "item 5", 500)
    world.deliver()
    assert numbers(world, "orders", "number") == wanted(world)


def test_a_rebuild_that_begins_at_the_same_moment_as_another_one_leaves_no_index_behind(
    world: LoadedTable, tmp_path: Path
) -> None:
    def other_one_first(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text == "making orders-v2":
            rebuild_of(world, tmp_path).run("orders")

    with pytest.raises(ConfigError, match="somebody has made orders-v2 at this very moment"):
        rebuild_of(world, tmp_path, observe=other_one_first).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]

    def other_one_next(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text == "making orders-v3":
            world.server.indices.create(index="orders-v3")  # theirs: the names are no longer the same
            (memory,) = read_memories(client, "orders-v2")
            note = RebuildNote("theirs", "orders-v2", "orders-v9")
            write_memory(client, memory, memory.with_members(["orders-v2", "orders-v9"], note))
            world.server.indices.delete(index="orders-v3")

    client: Any = world.server
    rebuild_of(world, tmp_path).finish("orders")
    with pytest.raises(ConfigError, match="a part of another rebuild, theirs"):
        rebuild_of(world, tmp_path, "documents: [{index: orders}]", observe=other_one_next).run("orders")
    assert not world.server.indices.exists(index="orders-v3")


def test_every_hundredth_item_that_is_refused_is_a_letter_and_counted(tmp_path: Path) -> None:
    world = LoadedTable()
    for number in range(200):
        world.table.put((f"item {number}", "x"), {"n": number, "note": "text" if number % 100 == 0 else number})
    world.deliver()
    strict = "documents: [{index: orders, on_unfit: dead_letter, body: {mappings: {properties: {note: {type: long}}}}}]"
    with pytest.raises(ConfigError, match="does not take 2 documents of shop") as refused:
        rebuild_of(world, tmp_path, strict).run("orders")
    assert "--accept 2" in str(refused.value.remedy)
    assert numbers(world, "orders", "n") == wanted(world)
    result = rebuild_of(world, tmp_path, strict, accept=2).run("orders")
    assert result.findings[0].counts == {"kept": 2}
    assert len(world.server.documents("orders")) == 198


# --- two operators at once


class Meanwhile:
    """OpenSearch, where somebody else acts before an alias is moved for the first time."""

    def __init__(self, server: Any, act: Callable[[], object]) -> None:
        self._server = server
        self._act: Callable[[], object] | None = act
        self.indices = self

    def update_aliases(self, **request: Any) -> Any:
        act, self._act = self._act, None
        if act is not None:
            act()
        return self._server.indices.update_aliases(**request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server.indices if name != "cluster" else self._server, name)


def test_an_index_that_was_swapped_in_meanwhile_is_not_given_up(world: LoadedTable, tmp_path: Path) -> None:
    first = rebuild_of(world, tmp_path)

    def gives_up(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text.startswith("searches see"):
            client: Any = Meanwhile(world.server, lambda: first.run("orders"))
            with pytest.raises(ConfigError, match="orders-v2 can't be given up"):
                replace(rebuild_of(world, tmp_path), client=client).abort("orders")

    with pytest.raises(ConfigError, match="can't be moved"):
        rebuild_of(world, tmp_path, observe=gives_up).run("orders")
    put(world, "late", 1)
    world.deliver()
    assert numbers(world, "orders", "number") == wanted(world)
    assert numbers(world, "orders-v1", "n") == wanted(world)


def killed_at_its_end(world: LoadedTable, rebuild: Rebuild, end: Callable[[Rebuild], object]) -> None:
    """Somebody begins to end the rebuild, and is killed before anything is deleted."""

    def dies(fact: object) -> None:
        if isinstance(fact, RebuildStep):
            raise Dies

    with pytest.raises(Dies):
        end(replace(rebuild, observe=dies))


def test_a_rebuild_that_is_given_up_at_the_moment_of_its_swap_is_not_swapped_in(
    world: LoadedTable, tmp_path: Path
) -> None:
    rebuild = rebuild_of(world, tmp_path)
    aborts = Meanwhile(world.server, lambda: killed_at_its_end(world, rebuild, lambda one: one.abort("orders")))
    client: Any = aborts
    with pytest.raises(ConfigError, match=r"can't be moved .* \[orders-standby\] missing"):
        replace(rebuild, client=client).run("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v1"]
    rebuild.abort("orders")
    assert not world.server.indices.exists(index="orders-v2")
    assert rebuild.run("orders").note.new == "orders-v2"


def test_a_rebuild_whose_end_was_begun_does_not_go_on(world: LoadedTable, tmp_path: Path) -> None:
    def dies(fact: object) -> None:
        if isinstance(fact, PageDone):
            raise Dies

    with pytest.raises(Dies):
        rebuild_of(world, tmp_path, observe=dies).run("orders")
    world.server.indices.delete_alias(index="orders-v2", name="orders-standby")
    with pytest.raises(ConfigError, match="is being given up") as refused:
        rebuild_of(world, tmp_path).run("orders")
    assert "cdc rebuild abort --index orders" in str(refused.value.remedy)


def test_there_is_no_way_back_to_an_index_that_is_about_to_be_deleted(world: LoadedTable, tmp_path: Path) -> None:
    rebuild = rebuild_of(world, tmp_path)
    rebuild.run("orders")
    finishes = Meanwhile(world.server, lambda: killed_at_its_end(world, rebuild, lambda one: one.finish("orders")))
    client: Any = finishes
    with pytest.raises(ConfigError, match=r"can't be moved from orders-v2 to orders-v1"):
        replace(rebuild, client=client).rollback("orders")
    assert list(world.server.indices.get_alias(name="orders")) == ["orders-v2"]


def test_a_rebuild_goes_on_by_the_mapping_that_it_began_with(world: LoadedTable, tmp_path: Path) -> None:
    def dies(fact: object) -> None:
        if isinstance(fact, RebuildStep) and fact.text.startswith("waiting"):
            raise Dies

    with pytest.raises(Dies):
        rebuild_of(world, tmp_path, observe=dies).run("orders")
    with pytest.raises(ConfigError, match="the mapping has changed since the rebuild of orders began") as refused:
        rebuild_of(world, tmp_path, "documents: [{index: orders, fields: {rename: {n: count}}}]").run("orders")
    assert "cdc rebuild abort" in str(refused.value.remedy)
    rebuild_of(world, tmp_path).run("orders")
    assert numbers(world, "orders", "number") == wanted(world)


def test_a_new_index_that_is_deleted_while_it_is_filled_is_not_waited_for(world: LoadedTable, tmp_path: Path) -> None:
    def vanishes(fact: object) -> None:
        if isinstance(fact, StepBegan) and fact.step == "load":
            world.server.vanish("orders-v2")

    with pytest.raises(ConfigError, match="orders-v2 was deleted while it was filled") as refused:
        rebuild_of(world, tmp_path, observe=vanishes).run("orders")
    assert "cdc rebuild abort --index orders" in str(refused.value.remedy)
    rebuild_of(world, tmp_path).abort("orders")
    assert rebuild_of(world, tmp_path).run("orders").note.new == "orders-v2"
    assert numbers(world, "orders", "number") == wanted(world)
