"""Verification: each class of difference is found where it was planted, and none where all is equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.records.versions import version_before_stream
from cdc.verification.verify import RepairRefused
from tests.verifying import World, compiled_of

FAR_ABOVE = 2**62


def test_an_index_that_equals_its_table_has_no_differences() -> None:
    findings = World().filled().verify()
    assert (findings.items, findings.documents, findings.equal) == (7, 7, 7)
    assert findings.counts == {}
    assert findings.verdict == "7 items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"
    assert findings.price.read_units > 0


def test_an_empty_table_equals_an_empty_index() -> None:
    assert World().verify().counts == {}


@pytest.mark.parametrize("with_content", [True, False])
def test_a_document_that_was_lost_is_missing(with_content: bool) -> None:
    world = World().filled()
    world.remove("item 3|x")
    findings = world.verify(with_content=with_content)
    assert findings.counts == {"missing": 1}
    assert findings.equal == 6
    assert findings.examples[0].id == "item 3|x"
    assert findings.examples[0].keys == {"pk": {"S": "item 3"}, "sk": {"S": "x"}}


@pytest.mark.parametrize("with_content", [True, False])
def test_a_document_whose_item_is_gone_is_a_ghost(with_content: bool) -> None:
    world = World().filled()
    world.table.delete(("item 3", "x"))
    world.skip()
    findings = world.verify(with_content=with_content)
    assert findings.counts == {"ghost": 1}
    assert findings.examples[0].reason == "there is no such item"


def test_a_document_of_an_item_that_the_mapping_does_not_take_is_a_ghost() -> None:
    world = World("[{index: orders, where: {status: [open]}}]").filled()
    world.put("item 3", total=3, status="draft")
    world.skip()
    assert world.verify().examples[0].reason == "the mapping does not take the item"


def test_content_that_no_value_of_the_item_explains_is_stale() -> None:
    world = World().filled()
    world.put("item 3", total=300, status="open")
    world.skip()
    findings = world.verify()
    assert findings.counts == {"stale": 1}
    assert findings.examples[0].reason == "differs in total"
    assert world.kinds(with_content=False) == {}


def test_values_that_are_right_in_another_shape_are_of_an_older_mapping() -> None:
    world = World().filled()
    world.compiled = compiled_of("[{index: orders, fields: {rename: {total: total_amount}}}]")
    assert world.kinds() == {"shape": 7}


def test_a_version_above_all_sources_is_foreign_also_where_the_content_is_right() -> None:
    world = World().filled()
    world.plant("item 3|x", world.source("item 3|x"), FAR_ABOVE)
    assert world.kinds() == {"foreign": 1}
    assert world.kinds(with_content=False) == {"foreign": 1}


def test_a_version_below_all_streams_is_foreign_where_the_content_is_wrong() -> None:
    world = World().filled()
    world.remove("item 3|x")
    world.plant("item 3|x", {"pk": "item 3", "sk": "x", "total": 4}, 1)
    assert world.kinds() == {"foreign": 1}
    assert world.kinds(with_content=False) == {"foreign": 1}
    world.plant("item 3|x", {"status": "open", "pk": "item 3", "sk": "x", "total": 3}, 2)
    assert world.kinds() == {}  # the item's next change outranks it


def test_documents_that_another_program_added_are_ghosts() -> None:
    world = World().filled()
    world.plant("item 99|x", {"total": 1}, None)
    world.plant("no id of ours", {"total": 1}, None)
    findings = world.verify()
    assert findings.counts == {"ghost": 2}
    assert {one.reason for one in findings.examples} == {"there is no such item; another program wrote it"}


def test_what_was_set_aside_is_equal_and_counted() -> None:
    world = World("[{index: orders, body: {mappings: {properties: {n: {type: long}}}}}]").filled(2)
    world.put("odd", n="not a number", total=1)
    world.deliver()
    findings = world.verify()
    assert (findings.counts, findings.set_aside, findings.equal) == ({}, 1, 3)


def test_a_dead_letter_explains_a_missing_document() -> None:
    world = World("[{index: orders, on_unfit: dead_letter, body: {mappings: {properties: {n: {type: long}}}}}]").filled(
        2
    )
    world.put("odd", n="not a number")
    world.deliver()
    findings = world.verify()
    assert (findings.counts, findings.differences) == ({"kept": 1}, 0)
    assert findings.examples[0].letter in world.letters.kept


def test_a_document_that_can_not_be_made_is_missing_with_the_reason() -> None:
    world = World("[{index: orders, fields: {rename: {a: b}}}]").filled(2)
    world.put("odd", a=1, b=2)
    world.skip()
    findings = world.verify()
    assert findings.counts == {"missing": 1}
    assert findings.examples[0].reason.startswith("its document can't be made: the field 'b' is there already")


def test_a_removed_item_s_document_may_stay_where_the_mapping_keeps_it() -> None:
    world = World("[{index: orders, on_remove: keep}]").filled()
    world.table.delete(("item 3", "x"))
    world.deliver()
    assert world.kinds() == {}


def test_a_tombstone_is_no_document() -> None:
    world = World("[{index: orders, on_remove: tombstone}]").filled()
    world.table.delete(("item 3", "x"))
    world.deliver()
    findings = world.verify()
    assert (findings.counts, findings.documents) == ({}, 6)


def test_fields_that_are_not_written_for_their_own_sake_may_lag() -> None:
    world = World("[{index: orders, unless_only: [viewed_at], fields: {rename: {viewed_at: seen}}}]")
    world.put("a", viewed_at=1, total=1)
    world.deliver()
    world.put("a", viewed_at=2, total=1)
    world.deliver()
    assert world.source("a|x")["seen"] == 1
    assert world.kinds() == {}
    world.put("a", viewed_at=2, total=2)
    world.skip()
    assert world.kinds() == {"stale": 1}


def test_each_index_of_a_mapping_is_compared() -> None:
    world = World("[{index: orders}, {index: open, where: {status: [open]}, id: [sk, pk]}]").filled(3)
    world.remove("x|item 1", "open")
    findings = world.verify()
    assert findings.indices == ("orders", "open")
    assert [(one.kind.value, one.index) for one in findings.examples] == [("missing", "open")]
    assert findings.equal == 5


def test_documents_of_other_tables_are_not_ours_to_judge() -> None:
    world = World('[{index: orders, id: ["{table}", pk, sk]}]').filled()
    other = compiled_of('[{index: orders, id: ["{table}", pk, sk]}]')
    other = replace(other, table="other")
    stream = replace(world.stream, table="other")
    from cdc.sinks.opensearch.indices import prepare

    prepare(world.server, other, stream, world.targets, world.clock, world.clock.sleep)  # type: ignore[arg-type]
    world.plant("other|item 3|x", {"total": 1}, world.version("shop|item 3|x"))
    assert world.kinds() == {}


def test_ids_that_are_digests_are_told_by_their_fields() -> None:
    world = World().filled(2)
    world.put("k" * 600, total=1)
    world.deliver()
    assert world.kinds() == {}
    world.table.delete(("k" * 600, "x"))
    world.skip()
    assert world.kinds() == {"ghost": 1}


def test_ids_that_nothing_tells_are_looked_up_by_one_more_scan() -> None:
    world = World("[{index: orders, fields: {exclude: [pk]}}]").filled(2)
    world.put("k" * 600, total=1)
    world.deliver()
    world.put("k" * 600, total=2)
    world.table.delete(("k" * 600, "x"))
    world.skip()
    assert world.kinds() == {"ghost": 1}


# --- while writers are busy


def test_a_consumer_that_lags_makes_no_difference() -> None:
    world = World().filled()
    world.put("item 3", total=300)
    world.table.delete(("item 4", "x"))
    world.put("new", total=1)
    world.clock.at(world.clock() + 3, world.deliver)
    findings = world.verify(settle_seconds=5)
    assert findings.counts == {}


def test_an_item_that_changes_all_the_time_is_unsettled() -> None:
    world = World().filled()

    def change() -> None:
        world.put("item 3", total=world.clock.micros)
        world.clock.at(world.clock() + 1, change)

    change()
    findings = world.verify(settle_seconds=5)
    assert (findings.counts, findings.unsettled) == ({}, 1)


def test_a_stream_that_is_switched_on_meanwhile_makes_no_foreign_documents() -> None:
    world = World().filled()

    def anew() -> None:
        world.table.disable_stream()
        world.table.enable_stream()
        world.deployment.prepare(world.stream, ("pk", "sk"))
        for number in range(7):
            world.put(f"item {number}", total=-number)
        world.deliver()

    world.clock.sleep(120)
    pages = world.deployment.pages
    begun: list[int] = []

    class Pages:
        describe = staticmethod(pages.describe)

        @staticmethod
        def page(*args: Any, **options: Any) -> Any:
            if not begun:
                begun.append(1)
                anew()
            return pages.page(*args, **options)

    world.deployment = replace(world.deployment, pages=Pages())
    assert world.kinds() == {}


def test_throttling_slows_and_never_fails() -> None:
    world = World().filled()
    answers = iter([SinkUnavailable("table", "throttled", kind=CauseKind.OVERLOADED)] * 200)
    pages = world.deployment.pages

    class Throttled:
        describe = staticmethod(pages.describe)

        @staticmethod
        def page(*args: Any, **options: Any) -> Any:
            for error in answers:
                raise error
            return pages.page(*args, **options)

    world.deployment = replace(world.deployment, pages=Throttled())
    assert world.kinds() == {}


# --- samples


def test_a_sample_looks_at_some_items_and_some_documents() -> None:
    world = World().filled(40)
    findings = world.verify(sample=10, seed=1)
    assert findings.sampled
    assert (findings.items, findings.documents, findings.counts) == (10, 10, {})
    for number in range(40):
        world.put(f"item {number}", total=-1)
    world.skip()
    assert world.kinds(sample=10, seed=1)["stale"] >= 10


# --- repair


def test_a_repair_mends_every_class_and_mints_no_version() -> None:
    world = World().filled()
    world.remove("item 0|x")
    world.table.delete(("item 1", "x"))
    world.put("item 2", total=200)
    world.skip()
    world.plant("elsewhere", {"total": 1}, 7)
    world.plant("item 3|x", {"total": "wrong"}, world.version("item 3|x"))
    versions = {name: version for name, (version, _) in world.server.documents("orders").items()}
    findings = world.verify(repair=True)
    assert findings.counts == {"missing": 1, "ghost": 2, "stale": 2}
    assert findings.repaired == {"missing": 1, "ghost": 2, "stale": 2}
    assert findings.left == 0
    assert world.kinds() == {}
    minute = world.stream.minute or 0
    now = {name: version for name, (version, _) in world.server.documents("orders").items()}
    assert now.pop("item 0|x") == version_before_stream(minute)
    assert now == {name: version for name, version in versions.items() if name in now}


def test_a_dry_run_writes_nothing() -> None:
    world = World().filled()
    world.remove("item 0|x")
    before = dict(world.server.documents("orders"))
    findings = world.verify(repair=True, dry_run=True)
    assert (findings.counts, findings.repaired, findings.left) == ({"missing": 1}, {}, 1)
    assert world.server.documents("orders") == before


def test_more_differences_than_allowed_are_refused_by_their_number() -> None:
    world = World().filled()
    world.server.vanish("orders")
    world.targets = type(world.targets)()
    with pytest.raises(RepairRefused, match="7 differences, and at most 6") as raised:
        world.verify(repair=True, max_repairs=6)
    assert "--max" in raised.value.remedy
    assert raised.value.findings.counts == {"missing": 7}


def test_a_foreign_document_above_all_versions_is_left_with_what_to_do() -> None:
    world = World().filled()
    world.plant("item 3|x", {"total": 0}, FAR_ABOVE)
    findings = world.verify(repair=True)
    assert (findings.repaired, findings.left) == ({}, 1)
    assert "delete the document" in findings.examples[0].reason
    assert world.source("item 3|x") == {"total": 0}


def test_a_repair_writes_the_item_as_it_stands_by_then() -> None:
    world = World().filled()
    world.put("item 3", total=200)
    world.skip()
    items = world.deployment.items
    reads: list[int] = []

    class Items:
        @staticmethod
        def read(*args: Any) -> Any:
            found = items.read(*args)
            reads.append(1)
            if len(reads) == 3:  # the repair's own first read
                world.put("item 3", total=300)
            return found

    world.deployment = replace(world.deployment, items=Items())
    findings = world.verify(repair=True)
    assert findings.repaired == {"stale": 1}
    assert world.source("item 3|x")["total"] == 300
    world.deliver()
    assert world.kinds() == {}


def test_a_ghost_becomes_a_tombstone_where_the_mapping_says_so() -> None:
    world = World("[{index: orders, on_remove: tombstone}]").filled()
    version = world.version("item 3|x")
    world.table.delete(("item 3", "x"))
    world.skip()
    assert world.verify(repair=True).repaired == {"ghost": 1}
    assert list(world.source("item 3|x")) == ["_cdc_tombstone"]
    assert world.version("item 3|x") == version


def test_a_table_without_a_stream_is_refused() -> None:
    world = World().filled()
    world.table.disable_stream()
    with pytest.raises(ConfigError, match="has no stream that is on"):
        world.verify()
