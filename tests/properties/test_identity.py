"""Two items never share a document, and a document never outlives its item: as far as mappings decide it."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.identity import RememberedDocuments, differences, documents_in, may_share
from cdc.mappings.model import TABLE, DocumentRule, FieldRule, TableMapping
from cdc.mappings.pattern import compile_pattern
from cdc.mappings.wider import is_within
from cdc.mappings.writes import Write
from cdc.records.attributes import encode_item
from cdc.testing import change
from tests.properties.test_pattern import ITEMS, PATTERNS

TABLE_NAMES = ["shop", "Shop", "a|b", "a", "sha256:"]
TABLES = st.sampled_from(TABLE_NAMES)
KEYS = st.sampled_from([("pk",), ("pk", "sk")])
VALUES = st.sampled_from(["", "a", "b", "a|b", "a%7Cb", "|", "shop", "shop|a", "Shop|a", "x" * 600, 1, 2, b"a"])
WHERES = st.fixed_dictionaries(
    {}, optional={"pk": st.lists(VALUES.filter(lambda value: value != b"a"), min_size=1, max_size=2)}
)


@st.composite
def mappings(draw: st.DrawFn, table: str | None = None) -> CompiledMapping:
    """A mapping of one or two documents in one index, as a start admits it."""
    table, keys = table or draw(TABLES), draw(KEYS)
    parts = draw(st.sampled_from([(TABLE, *keys), (*keys, TABLE), keys, (), (TABLE,), keys[1:], (TABLE, *keys[1:])]))
    rules = tuple(
        DocumentRule("orders", where=draw(WHERES), id=parts, fields=FieldRule(include=draw(FIELDS)))
        for _ in range(draw(st.integers(1, 2)))
    )
    try:
        return compile_mapping(TableMapping(table, rules), table, keys)
    except ConfigError:
        assume(False)
        raise


FIELDS = st.none() | st.just(("a",)) | st.just(("a", "b"))


def documents(mapping: CompiledMapping) -> RememberedDocuments:
    return documents_in("orders", mapping)


def place(mapping: CompiledMapping, item: dict[str, Any]) -> tuple[str, str] | None:
    arn = f"arn:aws:dynamodb:eu-west-1:111122223333:table/{mapping.table}/stream/2026-01-15T09:30:00.123"
    keys = {name: item[name] for name in mapping.keys}
    (write,) = mapping.writes(change(keys, None, {}, stream_arn=arn)) or (None,)
    return (write.index, write.id) if isinstance(write, Write) else None


@given(st.permutations(TABLE_NAMES).flatmap(lambda names: st.tuples(*map(mappings, names[:2]))), st.data())
def test_items_of_two_tables_that_are_admitted_never_share_a_document(
    tables: tuple[CompiledMapping, CompiledMapping], data: st.DataObject
) -> None:
    one, other = tables
    if may_share(one.table, documents(one), other.table, documents(other)):
        return  # refused
    first, second = (
        place(mapping, {name: data.draw(VALUES, label=name) for name in mapping.keys}) for mapping in tables
    )
    assert first is None or first != second


@given(mappings(), st.lists(VALUES, min_size=4, max_size=4))
def test_two_items_of_one_table_never_share_a_document(mapping: CompiledMapping, values: list[Any]) -> None:
    # one type a key: its values are told apart by their texts
    one, other = ({"pk": pk, "sk": sk} for pk, sk in (values[:2], values[2:]))
    assume(all(type(one[name]) is type(other[name]) for name in mapping.keys))
    assume(any(one[name] != other[name] for name in mapping.keys))
    first, second = place(mapping, one), place(mapping, other)
    assert first is None or first != second


@given(mappings(), mappings())
def test_whether_two_tables_may_share_is_asked_in_either_order(one: CompiledMapping, other: CompiledMapping) -> None:
    there = may_share(one.table, documents(one), other.table, documents(other))
    assert there == may_share(other.table, documents(other), one.table, documents(one))


@given(mappings())
def test_a_mapping_differs_in_nothing_from_itself(mapping: CompiledMapping) -> None:
    known = msgspec.convert(msgspec.json.decode(msgspec.json.encode(documents(mapping))), RememberedDocuments)
    assert known == documents(mapping)
    assert differences(known, documents(mapping)) == []


@given(
    TABLES.flatmap(lambda table: st.tuples(mappings(table), mappings(table))), st.lists(VALUES, min_size=2, max_size=2)
)
def test_an_item_keeps_its_document_where_a_changed_mapping_is_admitted(
    one_after_the_other: tuple[CompiledMapping, CompiledMapping], values: list[Any]
) -> None:
    before, after = one_after_the_other
    if before.keys != after.keys or any(one.refused for one in differences(documents(before), documents(after))):
        return
    item = {"pk": values[0], "sk": values[1]}
    assert place(before, item) in (None, place(after, item))


@given(PATTERNS, PATTERNS, ITEMS)
def test_a_pattern_that_is_wider_takes_every_item(
    narrow: dict[str, Any], wide: dict[str, Any], item: dict[str, Any]
) -> None:
    raw = encode_item(item)
    assume(compile_pattern(narrow).matches(raw) and is_within(narrow, wide))
    assert compile_pattern(wide).matches(raw)


@given(PATTERNS, st.data())
def test_a_pattern_with_more_values_or_fewer_conditions_is_wider(pattern: dict[str, Any], data: st.DataObject) -> None:
    wide = dict(pattern)
    for name in list(pattern):
        match data.draw(st.sampled_from(["same", "more", "without"])):
            case "more":
                wide[name] = [*wide[name], "more"] if isinstance(wide[name], list) and name != "$or" else wide[name]
            case "without":
                del wide[name]
    assert is_within(pattern, pattern)
    assert is_within(pattern, wide)
    assert is_within(pattern, {"$or": [{"zz": ["x"]}, wide]})
