"""While an index is rebuilt every document goes to both its members, by the mapping that each carries."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.loads.ghosts import close_by_lookup
from cdc.loads.pinned import pinned
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.outcome import Deferred, Rejected
from cdc.sinks.opensearch.carried import carried, compiled_from
from cdc.sinks.opensearch.members import FRESH_SECONDS, KNOWN_SECONDS
from cdc.sinks.opensearch.purge import purge
from cdc.testing import Faults
from cdc.verification.verify import verify
from tests.loading import LoadedTable
from tests.members import join, leave, new_member

OLD = "documents: [{index: orders}]"
NEW = "documents: [{index: orders, fields: {rename: {total: sum}}}]"


def of(documents: str) -> CompiledMapping:
    return compile_mapping(parse_mapping(f"table: shop\n{documents}", source="shop.yml"), "shop", ("pk", "sk"))


def rebuilt(shop: LoadedTable, documents: str = NEW) -> None:
    """The new index is there and joins; whoever wrote before has time to hear of it."""
    new_member(shop.server, of(documents), shop.stream, now=shop.clock())
    join(shop.server)
    shop.clock.sleep(FRESH_SECONDS)


@pytest.fixture
def shop() -> LoadedTable:
    return LoadedTable(OLD)


def put(shop: LoadedTable, name: str, total: int) -> None:
    shop.table.put((name, 1), {"total": total})


def fields(shop: LoadedTable, concrete: str) -> dict[str, set[str]]:
    return {name: set(source) - {"pk", "sk"} for name, (_, source) in shop.server.documents(concrete).items()}


def test_every_member_gets_each_document_by_the_mapping_that_it_carries(shop: LoadedTable) -> None:
    put(shop, "a", 1)
    shop.deliver()
    rebuilt(shop)
    put(shop, "b", 2)
    shop.deliver()
    assert [sorted(names) for names in fields(shop, "orders-v1").values()] == [["total"], ["total"]]
    assert [sorted(names) for names in fields(shop, "orders-v2").values()] == [["sum"]]
    versions = {name: version for name, (version, _) in shop.server.documents("orders-v1").items()}
    assert all(versions[name] == version for name, (version, _) in shop.server.documents("orders-v2").items())


def test_a_delete_goes_to_every_member(shop: LoadedTable) -> None:
    rebuilt(shop)
    put(shop, "a", 1)
    shop.deliver()
    shop.table.delete(("a", 1))
    shop.deliver()
    assert shop.server.documents("orders-v1") == shop.server.documents("orders-v2") == {}


def test_what_is_known_of_the_members_is_heeded_for_ten_seconds_and_no_longer(shop: LoadedTable) -> None:
    put(shop, "a", 1)
    shop.deliver()
    new_member(shop.server, of(NEW), shop.stream, now=shop.clock())
    join(shop.server)
    shop.clock.sleep(FRESH_SECONDS - 1)
    put(shop, "b", 2)
    shop.deliver()
    assert not shop.server.documents("orders-v2")
    shop.clock.sleep(1)
    put(shop, "c", 3)
    shop.deliver()
    assert len(shop.server.documents("orders-v2")) == 1


def test_members_that_can_not_be_read_defer_the_batch(shop: LoadedTable) -> None:
    put(shop, "a", 1)
    shop.deliver()
    shop.clock.sleep(FRESH_SECONDS)
    put(shop, "b", 2)
    index = shop.runtime.pipelines.index(shop.runtime.tables.mapping)
    assert index is not None
    shop.server.restart(down_seconds=5)
    changes = [shop.change(write) for write in shop.table.history[-1:]]
    (outcome,) = index.write(changes, Deadline.after(30, clock=shop.clock))
    assert isinstance(outcome, Deferred)
    assert "the members of orders can't be read" in outcome.cause.text
    shop.clock.sleep(5)
    shop.deliver()
    assert len(shop.server.documents("orders")) == 2


def test_no_request_is_sent_by_what_was_known_fifteen_seconds_ago(shop: LoadedTable) -> None:
    members = shop.runtime.pipelines.members
    assert members is not None
    members.fresh("orders", Deadline.after(30, clock=shop.clock))
    shop.clock.sleep(KNOWN_SECONDS - 1)
    assert members.are_known(["orders"])
    shop.clock.sleep(1)
    assert not members.are_known(["orders"])


def test_a_process_that_was_frozen_reads_the_members_again(shop: LoadedTable) -> None:
    """Its own clock may have stood still: the one on the wall has not."""
    from cdc.sinks.opensearch.members import Members
    from cdc.sinks.opensearch.targets import Targets

    members = Members(shop.server, Targets(), clock=lambda: 0.0, now=shop.clock)  # type: ignore[arg-type]
    before = members.fresh("orders", Deadline.after(30))
    new_member(shop.server, of(NEW), shop.stream, now=shop.clock())
    join(shop.server)
    assert members.fresh("orders", Deadline.after(30)) is before
    shop.clock.sleep(FRESH_SECONDS)
    assert members.fresh("orders", Deadline.after(30)).addresses == ("orders-v1", "orders-v2")


def test_nothing_is_compiled_again_while_nothing_changes(shop: LoadedTable) -> None:
    members = shop.runtime.pipelines.members
    assert members is not None
    first = members.fresh("orders", Deadline.after(30, clock=shop.clock))
    shop.clock.sleep(FRESH_SECONDS)
    assert members.fresh("orders", Deadline.after(30, clock=shop.clock)) is first


def test_what_one_member_refuses_is_rejected_and_names_it(shop: LoadedTable) -> None:
    rebuilt(
        shop,
        "documents: [{index: orders, on_unfit: dead_letter, body: {mappings: {properties: {total: {type: date}}}}}]",
    )
    put(shop, "a", 1)
    shop.table.put(("b", 1), {"total": "no date"})
    index = shop.runtime.pipelines.index(shop.runtime.tables.mapping)
    assert index is not None
    changes = [shop.change(write) for write in shop.table.history]
    outcomes = index.write(changes, Deadline.after(30, clock=shop.clock))
    (rejected,) = [one for one in outcomes if isinstance(one, Rejected)]
    assert rejected.document.startswith("orders-v2/")
    assert len(shop.server.documents("orders-v1")) == 2


def test_a_member_that_has_left_gets_nothing_more_and_is_not_made_anew(shop: LoadedTable) -> None:
    rebuilt(shop)
    put(shop, "a", 1)
    shop.deliver()
    leave(shop.server, "orders-v1")
    shop.clock.sleep(KNOWN_SECONDS)
    shop.server.indices.delete(index="orders-v2")
    put(shop, "b", 2)
    shop.deliver()
    assert not shop.server.indices.exists(index="orders-v2")
    assert len(shop.server.documents("orders")) == 2


def test_a_member_that_vanishes_is_not_made_anew_and_the_others_are_written(shop: LoadedTable) -> None:
    rebuilt(shop)
    put(shop, "a", 1)
    shop.deliver()
    shop.server.vanish("orders-v2")
    put(shop, "b", 2)
    index = shop.runtime.pipelines.index(shop.runtime.tables.mapping)
    assert index is not None
    changes = [shop.change(write) for write in shop.table.history[-1:]]
    (outcome,) = index.write(changes, Deadline.after(30, clock=shop.clock))
    assert isinstance(outcome, Deferred)
    shop.deliver()
    assert not shop.server.indices.exists(index="orders-v2")
    assert len(shop.server.documents("orders")) == 2


def test_after_the_alias_has_moved_both_are_written_and_then_the_new_one_alone(shop: LoadedTable) -> None:
    rebuilt(shop)
    actions = [
        {"remove": {"index": "orders-v1", "alias": "orders", "must_exist": True}},
        {"add": {"index": "orders-v2", "alias": "orders"}},
    ]
    shop.server.indices.update_aliases(body={"actions": actions})
    put(shop, "a", 1)
    shop.deliver()
    assert len(shop.server.documents("orders-v1")) == len(shop.server.documents("orders-v2")) == 1
    leave(shop.server, "orders-v2")
    shop.clock.sleep(FRESH_SECONDS)
    put(shop, "b", 2)
    shop.deliver()
    assert len(shop.server.documents("orders-v1")) == 1
    assert set().union(*fields(shop, "orders").values()) == {"sum"}  # of a process with the old mapping file


def test_a_load_of_one_member_writes_to_it_alone(shop: LoadedTable) -> None:
    put(shop, "a", 1)
    rebuilt(shop)
    compiled = compiled_from(carried(of(NEW), "orders"), "shop", ("pk", "sk"), "orders-v2", "shop.yml")
    one = pinned(shop.deployment, compiled)
    page = shop.page()
    one.load_sink(one.index(lambda _table: compiled)).write(page, Deadline.after(30, clock=shop.clock))
    assert not shop.server.documents("orders-v1")
    assert list(fields(shop, "orders-v2").values()) == [{"sum"}]
    assert not verify(one, "shop", stream=shop.stream).differences


def test_a_load_in_place_and_its_ghosts_reach_every_member(shop: LoadedTable) -> None:
    put(shop, "a", 1)
    put(shop, "b", 2)
    rebuilt(shop)
    page = shop.page()
    shop.write(page)
    assert len(shop.server.documents("orders-v2")) == 2
    shop.table.delete(("b", 1))
    source = shop.deployment.pages.describe("shop")
    version = page[0].version
    assert close_by_lookup(shop.deployment, shop.compiled, source, shop.stream, (version, version)) == 1
    assert len(shop.server.documents("orders-v1")) == len(shop.server.documents("orders-v2")) == 1


def test_tombstones_of_every_member_are_purged() -> None:
    shop = LoadedTable("documents: [{index: orders, on_remove: tombstone}]")
    rebuilt(shop, "documents: [{index: orders, on_remove: tombstone, fields: {rename: {total: sum}}}]")
    put(shop, "a", 1)
    shop.table.delete(("a", 1))
    shop.deliver()
    assert len(shop.server.documents("orders-v2")) == 1
    later = datetime.fromtimestamp(shop.clock(), UTC) + timedelta(hours=30)
    assert purge(shop.server, "orders", timedelta(hours=25), later) == 2  # type: ignore[arg-type]
    assert not shop.server.documents("orders-v2")


def test_members_are_read_again_after_every_fault(shop: LoadedTable, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    rebuilt(shop)
    shop.server.faults = Faults(seed=3, rate=0.3)
    for number in range(20):
        put(shop, f"item {number % 5}", number)
    sink = shop.runtime.pipelines.index(shop.runtime.tables.mapping)
    assert sink is not None
    load = shop.deployment.load_sink(sink)
    load.write([shop.change(write) for write in shop.table.history], Deadline.after(3600, clock=shop.clock))
    shop.server.faults = None
    assert len(shop.server.documents("orders-v1")) == len(shop.server.documents("orders-v2")) == 5


def test_an_index_that_carries_what_is_not_here_stops_the_process(shop: LoadedTable) -> None:
    memory = shop.server.indices.get_mapping(index="orders")["orders-v1"]["mappings"]["_meta"]
    rule = {"transform": "made:order", "transform_digest": "0" * 16}
    memory["cdc"]["mappings"]["shop"]["rules"] = [rule]
    shop.server.indices.put_mapping(index="orders-v1", body={"_meta": memory})
    put(shop, "a", 1)
    with pytest.raises(ConfigError, match="made by the transform made:order, which is not here"):
        shop.deliver()


@pytest.mark.parametrize(("mended", "name"), [(True, "sum"), (False, "total")])
def test_a_redrive_may_have_a_mended_mapping_that_the_index_does_not_carry_yet(
    shop: LoadedTable, mended: bool, name: str
) -> None:
    own = of(NEW)
    index = shop.runtime.pipelines.index(lambda _table: own, mended=mended)
    assert index is not None
    put(shop, "a", 1)
    changes = [shop.change(write) for write in shop.table.history]
    index.write(changes, Deadline.after(30, clock=shop.clock))
    assert list(fields(shop, "orders").values()) == [{name}]


def test_a_redrive_writes_each_member_of_a_rebuild_by_what_it_carries(shop: LoadedTable) -> None:
    rebuilt(shop)
    own = of("documents: [{index: orders, fields: {exclude: [total]}}]")
    index = shop.runtime.pipelines.index(lambda _table: own, mended=True)
    assert index is not None
    put(shop, "a", 1)
    index.write([shop.change(write) for write in shop.table.history], Deadline.after(30, clock=shop.clock))
    assert [list(fields(shop, member).values()) for member in ("orders-v1", "orders-v2")] == [[{"total"}], [{"sum"}]]
