"""A mapping file that is inferred: valid, disjoint and whole, without values, and of types that take what was seen."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.inference.evidence import evidence_of
from cdc.inference.fields import choice_of
from cdc.inference.infer import Inferred, infer_mapping
from cdc.inference.kinds import kinds_of
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import TableMapping
from cdc.records.attributes import Item, RawItem, encode_item
from cdc.testing import SimulatedClock, SimulatedPages, SimulatedTable
from tests.strategies import items as any_items


def raw(**attributes: Any) -> RawItem:
    return encode_item(attributes)


def inferred(items: Sequence[Item], keys: Sequence[str] = ("pk", "sk"), sample: int = 1000) -> Inferred:
    clock, chance = SimulatedClock(), random.Random(1)  # noqa: S311  (not a secret)
    table = SimulatedTable("shop", clock, chance, keys=keys)
    for item in items:
        rest = {name: value for name, value in item.items() if name not in keys}
        table.put(tuple(item[key] for key in keys), rest)
    clock.sleep(60)
    pages = SimulatedPages(table, clock, chance)
    return infer_mapping(pages, "shop", sample=sample, seed=1, clock=clock, sleep=clock.sleep, now=clock)


def mapping_of(found: Inferred) -> TableMapping:
    return parse_mapping(found.text, source="shop.yml")


def properties(found: Inferred, index: str) -> Mapping[str, Any]:
    (body,) = [one.body for one in mapping_of(found).documents if one.index == index]
    return body["mappings"]["properties"] if body else {}


def shop() -> list[Item]:
    chance, found = random.Random(2), list[Item]()  # noqa: S311  (not a secret)
    for number in range(60):
        customer = f"CUSTOMER#{number}"
        found.append({"pk": customer, "sk": "PROFILE", "name": f"Secret {number}"})
        for order in range(3):
            found.append({"pk": customer, "sk": f"ORDER#{order}", "total": Decimal("1.5"), "status": "open"})
        found.append({"pk": customer, "sk": chance.choice("abcdef") + str(number), "odd": True})
    return found


def test_the_kinds_of_a_single_table_design_are_found_by_how_their_keys_begin() -> None:
    found = inferred(shop())
    assert [(kind.index, kind.items) for kind in found.kinds] == [
        ("shop-order", 180),
        ("shop-profile", 60),
        ("shop-other", 60),
    ]
    assert [document.where for document in mapping_of(found).documents] == [
        {"sk": [{"prefix": "ORDER#"}]},
        {"sk": ["PROFILE"]},
        {"sk": [{"anything-but": {"wildcard": ["ORDER#*", "PROFILE"]}}]},
    ]


def test_the_same_sort_key_below_two_partition_keys_is_two_kinds() -> None:
    items = [
        {"pk": f"{kind}#{number}", "sk": f"{below}#1", "n": number}
        for number in range(20)
        for kind, below in (("USER", "META"), ("TEAM", "META"), ("USER", "EVENT"), ("TEAM", "MEMBER"))
    ]
    found = inferred([*items, {"pk": "x", "sk": "y"}])
    assert {kind.index for kind in found.kinds} == {
        "shop-user-meta",
        "shop-team-meta",
        "shop-user-event",
        "shop-team-member",
        "shop-other",
    }


def test_a_table_of_one_kind_has_one_document_and_no_pattern() -> None:
    found = inferred([{"pk": str(uuid.uuid4()), "sk": str(number), "country": "CH"} for number in range(30)])
    (document,) = mapping_of(found).documents
    assert (document.index, document.where) == ("shop", {})


def test_a_partition_key_of_whole_words_is_no_kind() -> None:
    found = inferred([{"pk": country, "sk": str(n)} for country in ("CH", "DE", "FR") for n in range(9)])
    assert len(found.kinds) == 1


KEY = st.one_of(
    st.sampled_from(["A#1", "B#1", "META", "B#2", "x", "A", "A#", "#", "a*b", "META2", "Ü#1", "A|3"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)


@given(st.lists(st.tuples(KEY, KEY), min_size=1, max_size=60), st.tuples(KEY, KEY))
def test_every_item_is_of_one_kind_also_one_that_was_not_in_the_sample(
    keys: list[tuple[str, str]], later: tuple[str, str]
) -> None:
    kinds = kinds_of([raw(pk=pk, sk=sk) for pk, sk in keys], ("pk", "sk"))
    for pk, sk in (*keys, later):
        item = {"pk": pk, "sk": sk}
        taking = [kind for kind in kinds.kinds if takes(kind.where, item)]
        assert len(taking) == 1, taking
        if (pk, sk) in keys:
            assert taking == [kinds.of(raw(pk=pk, sk=sk))]


def takes(where: Mapping[str, Any], item: Item) -> bool:
    import yaml

    text = yaml.safe_dump({"table": "shop", "documents": [{"index": "one", **({"where": where} if where else {})}]})
    (owner,) = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ("pk", "sk")).owners
    return owner.pattern.matches(encode_item(item))


@given(st.lists(any_items, min_size=1, max_size=12))
def test_whatever_a_table_holds_the_file_is_valid(items: list[Item]) -> None:
    found = inferred([{**item, "pk": f"K#{number}", "sk": "x"} for number, item in enumerate(items)])
    compile_mapping(mapping_of(found), "shop", ("pk", "sk"))
    assert sum(kind.items for kind in found.kinds) == len(items)


def test_no_value_of_an_item_is_in_the_file() -> None:
    secret = "hunter2-SECRET"
    found = inferred(
        [
            {
                "pk": f"P#{secret}{number}",
                "sk": "x",
                "text": f"{secret} {number}",
                "deep": {"list": [{"in": secret}]},
                "set": {secret, "b"},
                "by": {f"{secret}{number}{inner}": 1 for inner in range(9)},
                "number": 987_654_321 + number,
            }
            for number in range(20)
        ]
    )
    assert secret not in found.text
    assert "987654321" not in found.text.replace(",", "")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (["2026-01-02", "2026-01-02T03:04:05Z"], {"type": "date", "ignore_malformed": True}),
        (["2026-01-02", "soon"], {"type": "keyword", "ignore_above": 8191}),
        (["2026-13-45"], {"type": "keyword", "ignore_above": 8191}),
        (["open", "paid"], {"type": "keyword", "ignore_above": 8191}),
        (["two words", "and three more"], None),
        (["long" * 100], None),
        ([1_700_000_000], {"type": "date", "format": "epoch_second", "ignore_malformed": True}),
        ([1_700_000_000_000], {"type": "date", "format": "epoch_millis", "ignore_malformed": True}),
        ([1, Decimal("2.5")], None),
        ([1, "one"], {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 8191}}}),
        ([{"a": 1}, "one"], {"type": "object", "enabled": False}),
        ([{"123": 1}, {"456": 1}], {"type": "flat_object"}),
        ([True, False], None),
    ],
)
def test_the_field_of_values(values: list[Any], field: Mapping[str, Any] | None) -> None:
    evidence = evidence_of([raw(made_at=value) for value in values])
    assert choice_of(("made_at",), evidence["made_at",]).field == field


def test_whole_numbers_beyond_a_double_are_long_and_longer_ones_say_so() -> None:
    evidence = evidence_of([raw(id=2**60, money=Decimal("12345678901234567890.123"))])
    assert choice_of(("id",), evidence["id",]).field["type"] == "long"  # type: ignore[index]
    assert "23 digits" in choice_of(("money",), evidence["money",]).reason


def test_numbers_are_times_by_their_names_alone() -> None:
    evidence = evidence_of([raw(size=1_700_000_000)])
    assert choice_of(("size",), evidence["size",]).field is None


def test_below_a_map_that_is_keyed_by_ids_nothing_is_told() -> None:
    found = inferred([{"pk": str(n), "sk": "x", "by": {str(uuid.uuid4()): {"n": n}}} for n in range(20)])
    assert properties(found, "shop")["by"] == {"type": "flat_object"}
    assert "by." not in found.text


def test_names_that_no_field_can_have_are_told_and_left_out() -> None:
    found = inferred([{"pk": str(n), "sk": "x", "a.b": "x", "_id": "y", "ok": "z"} for n in range(5)])
    assert set(properties(found, "shop")) == {"pk", "sk", "ok"}
    assert "has a name that no field can have" in found.text


def test_an_attribute_that_may_be_a_secret_is_pointed_out() -> None:
    found = inferred([{"pk": "1", "sk": "x", "password_hash": "y", "deep": {"api_key": "z"}}])
    assert "password_hash may be a secret: fields: {exclude: [password_hash]}" in found.text
    assert "deep.api_key may be a secret" in found.text


def test_many_rare_attributes_are_counted_and_not_named() -> None:
    found = inferred([{"pk": str(n), "sk": "x", f"rare{n}x": "y"} for n in range(60)])
    assert "rare7x" not in found.text
    assert "and 60 more, each in less than 1% of the items" in found.text


def test_an_empty_table_gets_a_file_too() -> None:
    found = inferred([])
    assert mapping_of(found).documents[0].index == "shop"
