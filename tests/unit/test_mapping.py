"""Mapping files: every fault named; items become documents, leave them, move between them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc.causes import Cause, CauseKind
from cdc.errors import ConfigError, MappingError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import load_mappings, parse_mapping
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Rejected
from cdc.records.change import Change
from cdc.testing import change

SHOP = """
table: shop
documents:
  - index: orders
    where: {sk: [{prefix: "ORDER#"}], status: [{anything-but: draft}]}
    fields: {exclude: [password, address.secret], rename: {total: total_amount}}
    unless_only: [viewed_at]
    routing: pk
  - index: drafts
    where: {sk: [{prefix: "ORDER#"}], status: [draft]}
"""
KEYS = {"pk": "C#1", "sk": "ORDER#1"}


def compiled(text: str = SHOP, table: str = "shop", source: str = "mappings/shop.yml") -> CompiledMapping:
    return compile_mapping(parse_mapping(text, source=source), table, ["pk", "sk"])


def order(before: dict[str, Any] | None, after: dict[str, Any] | None, **facts: Any) -> Change:
    return change(KEYS, before, after, sequence=7 * 10**20, **facts)


def kinds(writes: tuple[Write | Rejected, ...]) -> dict[str, str]:
    return {write.index: type(write).__name__ for write in writes if not isinstance(write, Rejected)}


def test_an_item_becomes_the_document_that_the_mapping_says() -> None:
    item = {"status": "open", "total": 5, "password": "x", "address": {"city": "Bern", "secret": 1}}
    (write,) = compiled().writes(order(None, item))
    assert isinstance(write, Put)
    assert (write.index, write.id, write.routing) == ("orders", "C#1|ORDER#1", "C#1")
    assert orjson.loads(write.source) == {
        "pk": "C#1",
        "sk": "ORDER#1",
        "status": "open",
        "total_amount": 5,
        "address": {"city": "Bern"},
    }


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, {"status": "open"}, {"orders": "Put"}),
        ({"status": "open"}, {"status": "draft"}, {"orders": "Delete", "drafts": "Put"}),
        ({"status": "draft"}, {"status": "paid"}, {"orders": "Put", "drafts": "Delete"}),
        ({"status": "draft"}, {"other": 1}, {"drafts": "Delete"}),
        ({"status": "open"}, None, {"orders": "Delete"}),
        ({"status": "open"}, {"status": "open", "viewed_at": 1}, {}),
        ({"status": "open"}, {"status": "paid", "viewed_at": 1}, {"orders": "Put"}),
    ],
    ids=["insert", "moves", "moves back", "leaves", "removed", "only what does not count", "more than that"],
)
def test_an_item_moves_between_documents(
    before: dict[str, Any] | None, after: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    assert kinds(compiled().writes(order(before, after))) == expected


def test_without_the_old_image_a_delete_is_sent_where_the_item_could_have_been() -> None:
    from cdc.records.change import StreamView

    modified = order({"status": "open"}, {"status": "gone"}, view=StreamView.NEW_IMAGE)
    assert kinds(compiled().writes(modified)) == {"orders": "Put", "drafts": "Delete"}
    removed = order({"status": "open"}, None, view=StreamView.NEW_IMAGE)
    assert kinds(compiled().writes(removed)) == {"orders": "Delete", "drafts": "Delete"}


def test_an_item_whose_keys_decide_cannot_leave() -> None:
    from cdc.records.change import StreamView

    by_keys = compiled("table: shop\ndocuments: [{index: orders, where: {sk: [{prefix: 'ORDER#'}]}}]")
    profile = change({"pk": "C#1", "sk": "PROFILE"}, {"a": 1}, {"a": 2}, view=StreamView.NEW_IMAGE)
    assert by_keys.writes(profile) == ()


@pytest.mark.parametrize(
    ("policy", "expired", "kind"),
    [("delete", False, "Delete"), ("keep", False, None), ("tombstone", False, "Put")],
)
def test_on_remove(policy: str, expired: bool, kind: str | None) -> None:
    mapping = compiled(f"table: shop\ndocuments: [{{index: orders, on_remove: {policy}}}]")
    writes = mapping.writes(order({"a": 1}, None, expired=expired))
    assert [type(write).__name__ for write in writes] == ([kind] if kind else [])


def test_on_expiry_has_the_last_word_for_what_ttl_deleted() -> None:
    mapping = compiled("table: shop\ndocuments: [{index: orders, on_expiry: keep}]")
    assert mapping.writes(order({"a": 1}, None, expired=True)) == ()
    (removed,) = mapping.writes(order({"a": 1}, None))
    assert isinstance(removed, Delete)


def test_a_transform_gets_exact_values_and_may_say_that_there_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from cdc import Reject\n"
        "def order(document, change):\n"
        "    if document['n'] == 0:\n        return None\n"
        "    if document['n'] == 1:\n        raise KeyError('n')\n"
        "    if document['n'] == 5:\n        return 5\n"
        "    if document['n'] == 6:\n        raise Reject('a secret')\n"
        "    return {'n': document['n'], 'op': str(change.operation)}\n"
    )
    text = "table: shop\ndocuments: [{index: orders, transform: 'shop:order'}]"
    mapping = compiled(text, source=str(tmp_path / "shop.yml"))
    big = 12345678901234567890123456789012345678
    (write,) = mapping.writes(order(None, {"n": big}))
    assert isinstance(write, Put)
    assert write.source == b'{"n":%d,"op":"INSERT"}' % big
    assert kinds(mapping.writes(order({"n": 2}, {"n": 0}))) == {"orders": "Delete"}
    (failed,) = mapping.writes(order(None, {"n": 1}))
    assert isinstance(failed, Rejected)
    assert failed.cause.text == "transform shop:order raised KeyError"
    assert "Traceback" in failed.detail
    (wrong,) = mapping.writes(order(None, {"n": 5}))
    assert isinstance(wrong, Rejected)
    assert "returned int" in wrong.cause.text
    (rejected,) = mapping.writes(order(None, {"n": 6}))
    cause = Cause("transform shop:order rejected it", CauseKind.UNWRITABLE_DOCUMENT)
    assert rejected == Rejected(cause, "a secret", "orders/C#1|ORDER#1", str(tmp_path / "shop.yml"))


def test_two_fields_of_one_name_are_rejected() -> None:
    mapping = compiled("table: shop\ndocuments: [{index: orders, fields: {rename: {a: b}}}]")
    (failed,) = mapping.writes(order(None, {"a": 1, "b": 2}))
    assert isinstance(failed, Rejected)
    assert "'b' is there already" in failed.cause.text


def test_a_document_that_cannot_be_made_stops_no_other() -> None:
    mapping = compiled(
        "table: shop\ndocuments: [{index: bad, fields: {include: [x]}}, {index: good, fields: {exclude: [x]}}]"
    )
    one = order(None, {"x": 1})
    one.raw_after["x"] = {"N": "one"}  # type: ignore[index]  # the raw image is a dictionary here
    bad, good = mapping.writes(one)
    assert isinstance(bad, Rejected)
    assert (bad.document, bad.cause.text[:25]) == ("bad/C#1|ORDER#1", "the item can't be read at")
    assert isinstance(good, Put)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tabel: shop", "tabel: unknown field; did you mean table?"),
        ("table: shop\ndocuments: [{indx: a}]", "documents[0].indx: unknown field; did you mean index?"),
        ("table: shop\ndocuments: [{where: {}}]", "documents[0].index: is missing"),
        ("table: 5", "table: is a text, not the number 5; put it in quotes"),
        ("table: shop\ntable: b", "m.yml:2: the key 'table' is there twice"),
        ("table: [", "m.yml:1: expected the node content"),
        ("- a", "the file: is a map of table, documents and archive, not a list"),
        ("table: shop\ndocuments: [{index: Orders}]", "index: 'Orders' is no name that OpenSearch takes"),
        ("table: shop\ndocuments: [{index: a, where: {sk: x}}]", "where.sk: is a list of values"),
        ("table: shop\ndocuments: [{index: a, where: {sk: [{starts: x}]}}]", "unknown test 'starts'"),
        (
            "table: shop\ndocuments: [{index: a, on_remove: drop}]",
            "documents[0].on_remove: 'drop' is none of delete, keep, tombstone",
        ),
        ("table: 'prod-*'\ndocuments: [{index: a}]", "several tables would write the same documents"),
        ("table: shop\ndocuments: [{index: a}, {index: a, id: [pk]}]", "documents[1].id: differs from documents[0]"),
        ("table: Shop\ndocuments: [{index: '{table}-o'}, {index: shop-o, id: [pk]}]", "documents[1].id: differs from"),
        ("table: shop\ndocuments: [{index: a, body: {mappings: null}}]", "body.mappings: is a map"),
        ("table: shop\ndocuments: [{index: a, where: {n: [{numeric: ['>', .nan]}]}}]", "no number that DynamoDB has"),
        ("table: shop\narchive: false", "nothing would be done"),
        ("table: shop\ndocuments: [{index: a, fields: {rename: {a: c, b: c}}}]", "two fields would be named 'c'"),
        ("table: shop\ndocuments: [{index: a, fields: {rename: {a: _cdc_tombstone}}}]", "reserved for tombstones"),
    ],
)
def test_a_fault_names_file_and_field(text: str, problem: str) -> None:
    with pytest.raises(MappingError) as caught:
        parse_mapping(text, source="m.yml")
    assert any(re.match(r"m\.yml(:\d+)?: ", found) and problem in found for found in caught.value.problems)


def test_every_fault_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("table: shop\ndocuments: [{index: A, where: {x: 1}}, {index: B}]")
    (tmp_path / "b.yml").write_text("tabel: shop")
    (tmp_path / "c.yml").write_text("table: other\ndocuments: [{index: same}]")
    (tmp_path / "d.yml").write_text("table: other\ndocuments: [{index: same}]")
    with pytest.raises(MappingError) as caught:
        load_mappings([tmp_path])
    assert len(caught.value.problems) == 7


def test_numbers_in_a_pattern_are_exact_and_those_of_a_body_are_json() -> None:
    mapping = parse_mapping(
        "table: shop\ndocuments: [{index: a, where: {n: [0.12345678901234567891]}, "
        "body: {mappings: {properties: {n: {boost: 1.5}}}}}]",
        source="m.yml",
    )
    matches = compile_mapping(mapping, "shop", ["pk"]).owners[0].pattern.matches
    assert matches({"n": {"N": "0.12345678901234567891"}})
    assert not matches({"n": {"N": "0.12345678901234568"}})
    assert orjson.dumps(mapping.documents[0].body)


def test_records_of_a_table_with_other_keys_are_told_by_their_own() -> None:
    (write,) = compiled("table: shop\ndocuments: [{index: a}]").writes(change({"id": "x"}, None, {}))
    assert isinstance(write, Put)
    assert write.id == "x"
    (rejected,) = compiled("table: shop\ndocuments: [{index: a, id: [pk, sk]}]").writes(change({"id": "x"}, None, {}))
    cause = Cause("the item can't be read at Keys: the record's keys lack 'pk'", CauseKind.UNREADABLE_ITEM)
    assert rejected == Rejected(cause, "", "a", "mappings/shop.yml")


def test_an_id_must_tell_items_apart() -> None:
    with pytest.raises(ConfigError, match="leaves out the key attribute 'sk'"):
        compiled("table: shop\ndocuments: [{index: a, id: [pk]}]")
    with pytest.raises(ConfigError, match="'status' is no key attribute"):
        compiled("table: shop\ndocuments: [{index: a, routing: status}]")
    pinned = compiled("table: shop\ndocuments: [{index: a, id: [pk], where: {sk: [PROFILE]}}]")
    (write,) = pinned.writes(change({"pk": "C#1", "sk": "PROFILE"}, None, {}))
    assert isinstance(write, Put)
    assert write.id == "C#1"


def test_a_table_finds_its_mapping_by_name_then_by_glob(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("table: shop")
    (tmp_path / "b.yml").write_text("table: 'prod-*'\ndocuments: [{index: '{table}-items'}]")
    mappings = load_mappings([tmp_path])
    assert mappings.of("shop").source.endswith("a.yml")
    (write,) = compile_mapping(mappings.of("prod-A"), "prod-A", ["pk"]).writes(change({"pk": "x"}, None, {}))
    assert isinstance(write, Put)
    assert write.index == "prod-a-items"
    with pytest.raises(ConfigError, match="no mapping names the table 'nobody'"):
        mappings.of("nobody")


def test_the_mappings_of_this_repository_have_no_fault() -> None:
    assert load_mappings([Path(__file__).parents[2] / "mappings"]).files
