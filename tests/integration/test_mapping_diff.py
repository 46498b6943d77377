"""`cdc mappings diff` on the real OpenSearch: what a changed mapping file would change, and that nothing is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.rebuilds.diffing import diff_mapping
from cdc.rebuilds.mapping_diff import DocumentField, MappingDiff, Refusal, TypeChange
from consumers.aws_lambda import changes as aws_lambda
from consumers.loading import deployment_of
from consumers.runtime import open_runtime
from consumers.settings import load_settings
from tests.integration.backfilling import Done, cdc
from tests.integration.test_verify import Shop, shop

__all__ = ["cdc", "shop"]

ITEMS = 30
Text = dict[str, str]


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """A table and its index, equal; every third item is a draft."""
    mapped(shop, "[{index: INDEX, where: {draft: [{exists: false}]}}]")
    for number in range(ITEMS):
        draft = {"draft": {"BOOL": True}} if number % 3 == 0 else {}
        shop.put(number, status={"S": "open"}, address={"M": {"city": {"S": "Basel"}}}, **draft)
    shop.deliver()
    return shop


def mapped(shop: Shop, documents: str) -> None:
    """Write another mapping file."""
    shop.mapping.write_text(f"table: {shop.table}\ndocuments: {documents.replace('INDEX', shop.index)}\n")


def diff(shop: Shop, **options: Any) -> MappingDiff:
    runtime = open_runtime(load_settings(shop.environment))
    client = runtime.clients.opensearch
    assert client is not None
    try:
        return diff_mapping(
            deployment_of(runtime),
            client,
            runtime.mappings.of(shop.table),
            shop.table,
            shop.index,
            **{"settle_seconds": 0.0, **options},
        )
    finally:
        runtime.close()
        assert left_over(shop) == []


def left_over(shop: Shop) -> list[str]:
    return list(shop.opensearch.indices.get(index=f"{shop.index}-diff-*", params={"expand_wildcards": "all"}))


def test_an_unchanged_mapping_changes_nothing(filled: Shop) -> None:
    found = diff(filled)
    assert (found.changes, found.unsure, found.refused, found.missing) == (0, (), (), 0)
    assert (found.items, found.before, found.after) == (ITEMS, 20, 20)
    assert found.remedy == "nothing has to be rebuilt"


def test_a_field_of_another_type_is_found_whoever_sends_the_first_value(filled: Shop) -> None:
    mapped(
        filled,
        "[{index: INDEX, where: {draft: [{exists: false}]}, body: {mappings: {properties: {status: {type: keyword},"
        " later: {type: date}}}}}]",
    )
    found = diff(filled)
    assert found.types == (
        TypeChange("later", "", "date"),
        TypeChange("status", "text", "keyword"),
        TypeChange("status.keyword", "keyword", ""),
    )
    assert (found.fields, found.appear, found.vanish, found.refused) == ((), 0, 0, ())
    assert found.remedy == f"cdc rebuild --index {filled.index}"


def test_documents_that_appear_and_vanish_are_counted(filled: Shop) -> None:
    mapped(filled, "[{index: INDEX, where: {draft: [true]}}]")
    found = diff(filled, with_ids=True)
    assert (found.appear, found.vanish, found.before, found.after) == (10, 20, 20, 10)
    assert len(found.ids["appear"]) == 10
    assert [rule.leaves[:13] for rule in found.rules] == ["the documents"]


def test_another_id_and_another_routing_are_told(filled: Shop) -> None:
    mapped(filled, "[{index: INDEX, where: {draft: [{exists: false}]}, id: [sk, pk], routing: pk}]")
    found = diff(filled)
    assert (found.new_ids, found.new_routings, found.appear, found.vanish) == (20, 20, 0, 0)
    assert found.ids == {}
    assert [rule.text.partition(" was")[0] for rule in found.rules] == ["id", "routing"]


def test_fields_of_documents_are_told_by_their_paths(filled: Shop) -> None:
    mapped(
        filled,
        "[{index: INDEX, where: {draft: [{exists: false}]}, "
        "fields: {exclude: [address.city], rename: {status: state}}}]",
    )
    found = diff(filled)
    assert found.fields == (
        DocumentField("address.city", "removed", 20),
        DocumentField("state", "added", 20),
        DocumentField("status", "removed", 20),
    )


@pytest.mark.parametrize(("on_unfit", "becomes"), [("set_aside", "set aside"), ("dead_letter", "dead letter")])
def test_documents_that_a_new_index_would_refuse_are_counted_by_reason(
    filled: Shop, on_unfit: str, becomes: Any
) -> None:
    mapped(
        filled,
        f"[{{index: INDEX, where: {{draft: [{{exists: false}}]}}, on_unfit: {on_unfit}, "
        "body: {mappings: {properties: {status: {type: date}}}}}]",
    )
    found = diff(filled)
    assert found.refused == (Refusal("field status: the item's value is no date", becomes, 20, 20),)
    assert found.after == (20 if becomes == "set aside" else 0)


def test_a_document_that_lags_is_no_change_and_one_that_is_lost_is_told_apart(filled: Shop) -> None:
    filled.put(1, status={"S": "closed"})
    filled.put(100, status={"S": "open"})
    found = diff(filled)
    assert (found.appear, found.missing) == (0, 1)
    filled.deliver()
    assert diff(filled).changes == 0


def test_a_body_that_opensearch_refuses_is_a_wrong_set_up(filled: Shop) -> None:
    mapped(filled, "[{index: INDEX, body: {mappings: {properties: {status: {type: keyword, analyzer: none}}}}}]")
    with pytest.raises(ConfigError, match=r"Check `body` in .*shop\.yml"):
        diff(filled)


def test_an_interrupt_leaves_no_index_behind(filled: Shop) -> None:
    def interrupt(_items: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        diff(filled, observe=interrupt)


def test_the_index_of_now_is_only_read(filled: Shop) -> None:
    before = filled.opensearch.indices.get(index=filled.index)
    mapped(filled, "[{index: INDEX, id: [sk, pk], body: {mappings: {properties: {status: {type: date}}}}}]")
    diff(filled)
    assert filled.opensearch.indices.get(index=filled.index) == before


def test_the_command_ends_with_a_code_and_says_what_to_do(filled: Shop, cdc: Callable[..., Done]) -> None:
    asked = ("mappings", "diff", "--table", filled.table, "--settle", "0s")
    done = cdc(*asked)
    assert (done.code, done.out.splitlines()[-1]) == (0, "nothing has to be rebuilt"), done
    mapped(filled, "[{index: INDEX, body: {mappings: {properties: {status: {type: keyword}}}}}]")
    page = filled.mapping.parent / "page.html"
    done = cdc(*asked, "--html", str(page))
    assert (done.code, done.out.splitlines()[-1]) == (1, f"cdc rebuild --index {filled.index}"), done
    assert "item 1" not in done.out + page.read_text()
    assert "status" in page.read_text()
    (report,) = json.loads(cdc(*asked, "--json").out)
    assert {"path": "status", "before": "text", "after": "keyword"} in report["types"]
    assert "there are" in cdc("mappings", "diff", "--index", "nowhere").error


def test_documents_that_an_accepted_change_of_the_id_has_left_behind_are_doubles(
    filled: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped(filled, "[{index: INDEX, where: {draft: [{exists: false}]}, id: [sk, pk]}]")
    monkeypatch.setenv("CDC_ON_CHANGED_MAPPING", "accept")
    aws_lambda._by_mappings.cache_clear()
    for number in (1, 2):
        filled.put(number, status={"S": "closed"})
    filled.deliver()
    found = diff(filled)
    assert (found.new_ids, found.doubles, found.missing, found.before, found.after) == (18, 2, 0, 22, 20)


def test_a_type_that_the_first_value_decides_is_no_change(filled: Shop) -> None:
    filled.put(1, odd={"S": "text"})
    filled.deliver()
    filled.put(1)
    for number in (2, 4, 5):
        filled.put(number, odd={"N": str(number)})
    filled.deliver()
    found = diff(filled)
    assert [change.path for change in found.unsure] == ["odd", "odd.exact", "odd.keyword"]
    assert found.changes == 0


def test_an_index_of_somebody_else_is_compared_with_what_a_rebuild_would_make(shop: Shop) -> None:
    mapped(shop, "[{index: INDEX}]")
    shop.put(1)
    concrete = f"{shop.index}-theirs"
    body = {"aliases": {shop.index: {}}, "mappings": {"properties": {"total": {"type": "long"}}}}
    shop.opensearch.indices.create(index=concrete, body=body)
    found = diff(shop)
    assert (found.remembers, found.appear, found.concrete) == (False, 1, concrete)
    assert TypeChange("total", "long", "double") in found.types
    assert TypeChange("mappings.date_detection", "", "false") in found.settings


def test_an_alias_that_an_index_template_gives_shows_nobody_the_trial(filled: Shop) -> None:
    alias = {"index_patterns": [f"{filled.index}-diff-*"], "template": {"aliases": {f"{filled.index}-all": {}}}}
    filled.opensearch.indices.put_index_template(name=filled.index, body=alias)
    seen: list[bool] = []

    def look(_items: int) -> None:
        seen.append(filled.opensearch.indices.exists_alias(name=f"{filled.index}-all"))

    try:
        diff(filled, observe=look)
    finally:
        filled.opensearch.indices.delete_index_template(name=filled.index)
    assert seen == [False]
