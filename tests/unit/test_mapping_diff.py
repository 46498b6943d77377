"""Two index mappings and two documents compared; the report in words, tables and a page."""

from __future__ import annotations

import json
import signal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD, TOMBSTONE_FIELD
from cdc.rebuilds.diff_tables import notes_of, tables_of
from cdc.rebuilds.document_fields import FieldCounts, differing_fields, fields_of
from cdc.rebuilds.field_types import changed_settings, changed_types, named_paths, types_of
from cdc.rebuilds.mapping_diff import DocumentField, MappingDiff, Refusal, RuleChange, TypeChange
from cdc.rebuilds.mapping_diff_html import html_of_diffs
from consumers.cli.mapping_diff import ended_in_order
from tests.unit.test_verification_html import Page

KEYWORD = {"type": "keyword", "ignore_above": 100}
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def mapping(**properties: Any) -> dict[str, Any]:
    return {"properties": properties}


def fields(document: Any) -> Any:
    return fields_of(json.dumps(document).encode())


def test_fields_have_the_paths_that_searches_name_them_by() -> None:
    types = types_of(
        mapping(
            name={"type": "text", "fields": {"keyword": KEYWORD}},
            address={"properties": {"city": {"type": "keyword"}}},
            tags={"type": "nested", "properties": {"n": {"type": "long"}}},
            raw={"type": "object", "enabled": False},
        )
    )
    assert {path: one["type"] for path, one in types.items()} == {
        "name": "text",
        "name.keyword": "keyword",
        "address.city": "keyword",
        "tags": "nested",
        "tags.n": "long",
        "raw": "object",
    }


def test_fields_of_our_own_are_none_of_the_users() -> None:
    ours: dict[str, Any] = {"_cdc_turns": {"properties": {"turn_1": {"type": "keyword"}}}}
    ours |= {name: {"type": "keyword"} for name in (ASIDE_FIELD, ASIDE_NAMES_FIELD, TOMBSTONE_FIELD)}
    assert types_of(mapping(**ours)) == {}


def test_types_are_told_by_name_and_by_parameters_where_the_names_are_the_same() -> None:
    before = types_of(mapping(a={"type": "text"}, b=KEYWORD, c={"type": "date"}))
    after = types_of(mapping(a=KEYWORD, b={**KEYWORD, "ignore_above": 200}, c={"type": "date"}, d={"type": "ip"}))
    assert list(changed_types(before, after, after.keys())) == [
        TypeChange("a", "text", "keyword"),
        TypeChange("b", "keyword, ignore_above 100", "keyword, ignore_above 200"),
        TypeChange("d", "", "ip"),
    ]
    assert list(changed_types(before, before, before.keys())) == []
    assert set(named_paths({"mappings": mapping(a=KEYWORD)})) == {"a"}


def test_settings_that_an_index_keeps_or_searches_by_are_compared_and_no_others() -> None:
    before = {"index.number_of_shards": "1", "index.uuid": "u", "index.number_of_replicas": "1"}
    after = {"index.number_of_shards": "2", "index.uuid": "v", "index.analysis.filter.x.type": "stop"}
    assert list(changed_settings(before, after)) == [
        TypeChange("index.analysis.filter.x.type", "", "stop"),
        TypeChange("index.number_of_shards", "1", "2"),
    ]


@given(documents)
def test_a_document_does_not_differ_from_itself(document: Any) -> None:
    assert not list(differing_fields(fields(document), fields(document)))


@given(documents, documents)
def test_what_is_added_one_way_is_removed_the_other_way(one: Any, other: Any) -> None:
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    there = {(path, turned[change]) for path, change in differing_fields(fields(one), fields(other))}
    assert there == set(differing_fields(fields(other), fields(one)))


def test_the_notation_of_numbers_and_the_order_of_fields_do_not_count() -> None:
    before, after = fields_of(b'{"a": 1.50, "b": {"c": 1e2}}'), fields_of(b'{"b": {"c": 100}, "a": 1.5}')
    assert not list(differing_fields(before, after))


def test_fields_that_are_set_aside_stand_in_their_place() -> None:
    aside = {"a": 1, ASIDE_FIELD: {"b": {"c": 2}}, ASIDE_NAMES_FIELD: ["b"]}
    assert not list(differing_fields(fields(aside), fields({"a": 1, "b": {"c": 2}})))


def test_fields_that_may_lag_do_not_count() -> None:
    before, after = fields({"seen": {"at": 1}, "n": 1}), fields({"seen": {"at": 2}, "n": 1})
    assert not list(differing_fields(before, after, [("seen",)]))
    assert list(differing_fields(before, after)) == [("seen.at", "changed")]


def test_fields_and_the_kinds_of_their_values_are_counted() -> None:
    counts = FieldCounts()
    for number in range(3):
        counts.add(fields({"a": number, "l": [{"x": 1}]}), fields({"a": str(number), "l": [{"y": True}]}))
    counts.add(None, fields({"a": None}))
    assert counts.fields() == (
        DocumentField("a", "changed", 3),
        DocumentField("l.x", "removed", 3),
        DocumentField("l.y", "added", 3),
    )
    assert counts.kinds("a") == (frozenset({"number"}), frozenset({"string"}))
    assert counts.kinds("l.y") == (frozenset(), frozenset({"boolean"}))


NOTHING = MappingDiff("shop", "orders", "orders-v1", "shop.yml", items=1000, before=900, after=900)
MUCH = msgspec.structs.replace(
    NOTHING,
    rules=(RuleChange("id was [pk] and is [sk]", "old ids stay"),),
    appear=3,
    types=(TypeChange("status<script>", "text", "keyword"),),
    fields=(DocumentField("note", "removed", 7),),
    refused=(Refusal("field n: the item's value is no long", "set aside", 5, 4),),
    unsure=(TypeChange("odd", "text", "double"),),
    missing=1,
)


def test_a_report_says_in_one_line_what_would_change_and_what_to_do() -> None:
    assert NOTHING.verdict == "orders: nothing would change, by 1,000 items of shop"
    assert NOTHING.remedy == "nothing has to be rebuilt"
    assert MUCH.verdict == (
        "orders: 1 field of another type, 3 documents appear, 1 other field in documents, "
        "4 documents refused in part or whole, by 1,000 items of shop"
    )
    assert MUCH.remedy == "cdc rebuild --index orders"
    assert MUCH.to_builtins()["changes"] == 5


def test_what_is_no_change_does_not_count() -> None:
    known = msgspec.structs.replace(MUCH.refused[0], new=0)
    quiet = msgspec.structs.replace(NOTHING, unsure=MUCH.unsure, missing=3, refused=(known,), body_differs=True)
    assert quiet.changes == 0
    assert [table.title for table in tables_of(quiet)][-1].startswith("No change")
    assert any("cdc verify --table shop" in note for note in notes_of(quiet))


def test_the_page_holds_all_tables_and_nothing_of_it_takes_effect() -> None:
    text = Page(html_of_diffs([NOTHING, MUCH])).whole_text
    for table in tables_of(MUCH):
        assert table.title in text
        for row in table.rows:
            assert all(cell in text for cell in row)
    assert "To be rebuilt: orders" in text
    assert "Nothing has to be rebuilt" in Page(html_of_diffs([NOTHING])).whole_text


def test_sigterm_ends_a_diff_like_ctrl_c_and_is_as_before_behind_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_in_order():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
