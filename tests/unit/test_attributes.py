"""Exact values against what other libraries make of the same items."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer
from dynamodb_json import json_util

from cdc.records.attributes import decode_item, decode_value, encode_item, encode_value, json_item
from cdc.records.differences import Added, Changed, raw_differences
from tests.events import payload

IMAGE: dict[str, Any] = payload("lambda-dynamodb")["Records"][1]["dynamodb"]["NewImage"]


def test_boto3s_deserializer_reads_the_same_values() -> None:
    theirs = {name: TypeDeserializer().deserialize(value) for name, value in _with_bytes(IMAGE).items()}
    assert decode_item(IMAGE) == _plain(theirs)


def test_dynamodb_json_reads_the_same_where_it_loses_nothing() -> None:
    kept = {name: value for name, value in IMAGE.items() if next(iter(value)) in ("S", "BOOL", "NULL")}
    assert decode_item(kept) == json_util.loads(kept)
    assert isinstance(json_util.loads({"n": {"N": "0.1"}})["n"], float)
    assert decode_value({"N": "0.1"}) == Decimal("0.1")


def test_dynamodb_json_writes_what_is_read_here() -> None:
    item = {"a": "x", "n": 5, "flag": True, "none": None, "list": [1, "two"], "map": {"S": "name"}}
    assert decode_item(orjson.loads(json_util.dumps(item))) == item


def test_binary_of_boto3_is_bytes() -> None:
    assert (
        decode_value({"B": b"\x00"}) == decode_value({"B": Binary(b"\x00")}) == decode_value({"B": "AA=="}) == b"\x00"
    )


def test_thirty_two_levels_deep() -> None:
    value: Any = "bottom"
    for _ in range(32):
        value = {"M": [value]}
    assert decode_item(encode_item({"deep": value})) == {"deep": value}
    assert b"bottom" in orjson.dumps(json_item(encode_item({"deep": value})))


def test_sets_are_sorted_arrays_in_a_document() -> None:
    item = encode_item({"words": {"b", "a"}, "numbers": {10, 9, Decimal("1.5")}, "bytes": {b"\xff", b"\x00"}})
    assert orjson.dumps(json_item(item), option=orjson.OPT_SORT_KEYS) == (
        b'{"bytes":["AA==","/w=="],"numbers":[1.5,9,10],"words":["a","b"]}'
    )


@pytest.mark.parametrize(
    "value",
    [
        *(1.5, set(), {1, "a"}, {True}, {b"a", "a"}, object(), Decimal("NaN")),
        *(10**38 + 1, -(10**38) - 1, Decimal("1." + "1" * 38), Decimal("1E+126"), Decimal("-1E-131"), {10**38 + 1}),
    ],
)
def test_what_dynamodb_does_not_have_is_not_encoded(value: Any) -> None:
    with pytest.raises(TypeError):
        encode_value(value)


@pytest.mark.parametrize(
    "number",
    ["9" * 38, "-" + "9" * 38, "9." + "9" * 37, "9." + "9" * 37 + "E+125", "-1E-130", "0", "0E+500", "1" + "0" * 125],
)
def test_the_longest_and_the_largest_numbers_of_dynamodb_are_encoded(number: str) -> None:
    assert encode_value(Decimal(number)) == {"N": str(Decimal(number))}


def test_bytearrays_and_boto3s_binaries_are_binary() -> None:
    assert encode_value(bytearray(b"\x00")) == encode_value(Binary(b"\x00")) == encode_value(b"\x00") == {"B": "AA=="}
    assert encode_value(Binary(bytearray(b"\x00"))) == {"B": "AA=="}
    assert encode_value({Binary(b"b"), Binary(b"a")}) == encode_value({b"a", b"b"}) == {"BS": ["YQ==", "Yg=="]}
    assert decode_value({"B": bytearray(b"\x00")}) == b"\x00"


def test_an_empty_map_or_list_that_lost_its_tag_is_empty() -> None:
    raw: dict[str, Any] = {"a": {}, "b": {"L": [{}, {"S": "x"}]}, "c": {"M": {"d": {}}}}
    assert decode_item(raw) == {"a": {}, "b": [{}, "x"], "c": {"d": {}}}
    assert orjson.dumps(json_item(raw)) == b'{"a":{},"b":[{},"x"],"c":{"d":{}}}'


@pytest.mark.parametrize("tagged", [{"M": {}}, {"L": []}])
def test_an_empty_map_or_list_with_and_without_its_tag_is_no_difference(tagged: Any) -> None:
    assert raw_differences({"a": tagged}, {"a": {}}) == raw_differences({"a": {}}, {"a": tagged}) == {}
    assert raw_differences({"a": {}}, {"a": {"S": ""}}) == {("a",): Changed({}, "")}
    assert raw_differences({"a": {}}, {"a": {"M": {"b": {"S": "c"}}}}) == {("a", "b"): Added("c")}
    assert raw_differences({"a": {"L": []}}, {"a": {"M": {}}}) == {("a",): Changed([], {})}


@pytest.mark.parametrize(
    ("text", "digits"),
    [("007", b"7"), ("+1", b"1"), (".5", b"0.5"), ("1.", b"1"), ("1E+100", b"1E+100"), ("-0", b"-0")],
)
def test_numbers_in_odd_notation_are_still_json(text: str, digits: bytes) -> None:
    assert orjson.dumps(json_item({"n": {"N": text}})) == b'{"n":' + digits + b"}"


def _with_bytes(image: Any) -> Any:
    from base64 import b64decode

    if isinstance(image, dict):
        return {
            name: b64decode(value)
            if name == "B" and isinstance(value, str)
            else [b64decode(one) for one in value]
            if name == "BS"
            else _with_bytes(value)
            for name, value in image.items()
        }
    return [_with_bytes(value) for value in image] if isinstance(image, list) else image


def _plain(value: Any) -> Any:
    match value:
        case Binary():
            binary: Any = value  # what its stubs name differs between versions
            return binary.value
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case set():
            return frozenset(_plain(inner) for inner in value)
    return value
