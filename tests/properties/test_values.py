"""Laws of exact values and of differences."""

from __future__ import annotations

import copy
import json
from decimal import Context, Decimal
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from cdc.records.attributes import canonical_number, decode_item, decode_number, encode_item, json_item, plain
from cdc.records.change import Added, Changed, Path, Removed, raw_differences
from tests import strategies

EXACT = Context(prec=400)


@given(strategies.items)
def test_encoding_and_decoding_an_item_gives_it_back(item: dict[str, Any]) -> None:
    decoded = decode_item(encode_item(item))
    assert decoded == item
    assert _types(decoded) == _types(item)


@given(strategies.items)
def test_a_document_has_the_same_json_from_raw_and_from_decoded_values(item: dict[str, Any]) -> None:
    raw = encode_item(item)
    assert orjson.dumps(json_item(raw), option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        plain(decode_item(raw)), option=orjson.OPT_SORT_KEYS
    )


@given(strategies.numbers)
def test_numbers_keep_every_digit(number: int | Decimal) -> None:
    text = str(number)
    assert EXACT.compare(Decimal(decode_number(text)), Decimal(number)) == 0
    document = orjson.dumps(json_item({"n": {"N": text}}))
    assert json.loads(document, parse_float=Decimal, parse_int=Decimal)["n"] == Decimal(text)


@given(strategies.numbers, strategies.numbers, st.integers(0, 5))
def test_canonical_texts_are_equal_exactly_for_equal_numbers(
    one: int | Decimal, other: int | Decimal, zeros: int
) -> None:
    written_otherwise = str(one) + ("." + "0" * zeros if isinstance(one, int) and zeros else "")
    assert canonical_number(written_otherwise) == canonical_number(str(one))
    assert (canonical_number(str(one)) == canonical_number(str(other))) == (one == other)
    assert Decimal(canonical_number(str(one))) == one


@given(strategies.items)
def test_an_item_has_no_difference_with_itself(item: dict[str, Any]) -> None:
    raw = encode_item(item)
    assert dict(raw_differences(raw, copy.deepcopy(raw))) == {}


@given(strategies.items, strategies.items)
def test_differences_are_symmetric(before: dict[str, Any], after: dict[str, Any]) -> None:
    there = dict(raw_differences(encode_item(before), encode_item(after)))
    back = dict(raw_differences(encode_item(after), encode_item(before)))
    assert there.keys() == back.keys()
    for path, difference in there.items():
        match difference:
            case Added(value):
                assert back[path] == Removed(value)
            case Removed(value):
                assert back[path] == Added(value)
            case Changed(old, new):
                assert back[path] == Changed(new, old)


@given(strategies.items, strategies.items)
def test_applying_the_differences_to_before_gives_after(before: dict[str, Any], after: dict[str, Any]) -> None:
    differences = dict(raw_differences(encode_item(before), encode_item(after)))
    applied = _applied(copy.deepcopy(before), differences)
    assert applied == after


def _applied(item: dict[str, Any], differences: dict[Path, Any]) -> dict[str, Any]:
    removed = [path for path, difference in differences.items() if isinstance(difference, Removed)]
    for path in sorted(
        removed, key=lambda path: [step if isinstance(step, int) else -1 for step in path], reverse=True
    ):
        del _parent(item, path)[path[-1]]
    for path, difference in differences.items():
        parent = _parent(item, path)
        if isinstance(difference, Added) and isinstance(parent, list):
            parent.append(difference.after)
        elif isinstance(difference, Added | Changed):
            parent[path[-1]] = difference.after
    return item


def _parent(item: Any, path: Path) -> Any:
    for step in path[:-1]:
        item = item[step]
    return item


def _types(value: Any) -> Any:
    match value:
        case dict():
            return {name: _types(inner) for name, inner in value.items()}
        case list():
            return [_types(inner) for inner in value]
        case bool():
            return "bool"
        case int() | Decimal():
            return "number"
    return type(value).__name__
