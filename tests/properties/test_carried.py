"""A carried mapping makes of every change what the mapping file makes of it."""

from __future__ import annotations

import json
from typing import Any, TypeGuard

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.model import TABLE, DocumentRule, FieldRule, TableMapping
from cdc.mappings.writes import Write
from cdc.outcome import Rejected
from cdc.records.change import Change
from cdc.sinks.opensearch.carried import CarriedMapping, carried, compiled_from
from cdc.testing import change
from tests.properties.test_pattern import ITEMS, PATTERNS

POLICIES = st.sampled_from(["delete", "tombstone", "keep"])
NAMES = st.sampled_from(["a", "b", "a.b", "c"])
RULES = st.builds(
    DocumentRule,
    index=st.sampled_from(["orders", "other"]),
    where=PATTERNS,
    id=st.sampled_from([(), ("pk",), (TABLE, "pk")]),
    fields=st.builds(
        FieldRule,
        include=st.none() | st.lists(NAMES, max_size=2).map(tuple),
        exclude=st.lists(NAMES, max_size=2).map(tuple),
        rename=st.dictionaries(NAMES, st.sampled_from(["x", "y"]), max_size=1),
    ),
    unless_only=st.lists(NAMES, max_size=1).map(tuple),
    on_remove=POLICIES,
    on_expiry=st.none() | POLICIES,
    on_unfit=st.sampled_from(["set_aside", "dead_letter"]),
    routing=st.none() | st.just("pk"),
)
MAPPINGS = st.lists(RULES, min_size=1, max_size=3)
IMAGES = st.none() | ITEMS


def made(compiled: CompiledMapping, one: Change, index: str) -> list[Any]:
    """The writes for an index, and the documents that can't be made for it."""
    found = compiled.writes(one)
    writes = [msgspec.structs.replace(write, index="orders") for write in found if of(write, index)]
    rejected = [write.document.partition("/") for write in found if isinstance(write, Rejected)]
    return [*writes, *(identifier for name, _, identifier in rejected if name == index)]


def of(write: Write | Rejected, index: str) -> TypeGuard[Write]:
    return isinstance(write, Write) and write.index == index


@given(MAPPINGS, IMAGES, IMAGES)
def test_through_the_index_and_back_every_change_makes_the_same_writes(
    rules: list[DocumentRule], before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    own = compile_mapping(TableMapping("shop", tuple(rules)), "shop", ["pk"])
    told = msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(carried(own, "orders")))), CarriedMapping)
    theirs = compiled_from(told, "shop", ["pk"], "orders-v2", "shop.yml")
    images = [None if item is None else {**item, "pk": "a"} for item in (before, after)]
    one = change({"pk": "a"}, *images)
    assert made(theirs, one, "orders-v2") == made(own, one, "orders")
