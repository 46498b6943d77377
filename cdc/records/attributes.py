"""DynamoDB JSON <-> exact values.

A value is `{tag: content}` with one of ten tags (Amazon DynamoDB API Reference, "AttributeValue"). Numbers never pass
through a float; sets become frozensets; binary is bytes, from base64 text (JSON) or bytes (boto3).
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from cdc.errors import MalformedRecord
from cdc.records.encoding import bytes_of, encode_item, encode_value

__all__ = [
    "AttributeValue",
    "Item",
    "Number",
    "RawItem",
    "Value",
    "canonical_number",
    "decode_item",
    "decode_number",
    "decode_value",
    "encode_item",
    "encode_value",
    "json_item",
    "json_value",
    "plain",
]

Number = int | Decimal
Value = Any
"""str, int, Decimal, bytes, bool, None, dict, list or frozenset: what `decode_value` gives."""
Item = dict[str, Value]
"""An item's attributes by name: `int` or `Decimal`, `str`, `bytes`, `bool`, None, `dict`, `list`, `frozenset`."""
AttributeValue = dict[str, Any]
RawItem = dict[str, Any]
"""An item as JSON has it; nothing writes into one."""

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_SETS = ("SS", "NS", "BS")
_TAGS = dict.fromkeys(("S", "N", "B", "BOOL", "NULL", "M", "L", *_SETS))  # in this order, and quick to look in


def decode_number(text: object) -> Number:
    """The exact number: `int` where it is written with digits only, `Decimal` otherwise.

    Raises:
        MalformedRecord: it isn't a number in DynamoDB's notation (Infinity and NaN are none).
    """
    if isinstance(text, str):
        if (_is_plain(text) and len(text) <= DIGITS_WITHOUT_EXPONENT) or _INTEGER.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            try:
                return Decimal(text)
            except InvalidOperation:
                pass
    raise MalformedRecord("a number (N) is a string of digits, such as '12.5' or '1E+10'")


def canonical_number(text: str) -> str:
    """One text for each number: equal numbers, and no others, have equal texts. No exponent up to 10^40."""
    number = decode_number(text)
    if isinstance(number, int):
        return str(number)
    sign, digits, exponent = number.as_tuple()
    significand = "".join(map(str, digits)).strip("0")
    if not significand:
        return "0"
    # normalize() would round to the context's precision
    power = int(exponent) + len(digits) - len("".join(map(str, digits)).rstrip("0"))
    prefix = "-" if sign else ""
    if 0 <= power <= DIGITS_WITHOUT_EXPONENT:
        return prefix + significand + "0" * power
    if -DIGITS_WITHOUT_EXPONENT <= power < 0:
        padded = significand.rjust(1 - power, "0")
        return f"{prefix}{padded[:power]}.{padded[power:]}"
    return f"{prefix}{significand}E{power:+d}"


DIGITS_WITHOUT_EXPONENT = 40


def split(value: object) -> tuple[str, Any]:
    """Tag and content of an attribute value. `{}` is an empty map: so some writers of JSON leave an empty map or list.

    Raises:
        MalformedRecord: it has no tag, two tags, or a tag that is none of the ten.
    """
    if isinstance(value, dict) and len(value) == 1:
        for tag, content in value.items():  # the only one
            if tag in _TAGS:
                return tag, content
            raise MalformedRecord(f"unknown type tag {tag!r}; the tags are {', '.join(_TAGS)}")
    if isinstance(value, dict) and not value:
        return "M", value
    tags = ", ".join(map(str, value)) if isinstance(value, dict) else type(value).__name__
    raise MalformedRecord(f"an attribute value is an object with one type tag; this has: {tags or 'none'}")


def decode_value(value: object) -> Value:
    """The exact value of `{tag: content}`.

    Raises:
        MalformedRecord: it can't be read; `path` leads to the fault.
    """
    if isinstance(value, dict) and len(value) == 1:
        for tag, content in value.items():  # the only one
            if tag == "S" and isinstance(content, str):
                return content
            if tag == "N":
                return decode_number(content)
            if tag == "M" and isinstance(content, dict):
                return decode_item(content)
            if tag == "L" and isinstance(content, list):
                return _decoded_list(content)
            if tag == "BOOL" and isinstance(content, bool):
                return content
    tag, content = split(value)
    if tag in _SETS:
        return frozenset(_members(tag, content))
    return _binary(content) if tag == "B" else _null_or_fault(tag, content)


def decode_item(item: RawItem) -> Item:
    """The exact values of all attributes.

    Raises:
        MalformedRecord: one can't be read; `path` leads to it.
    """
    decoded: Item = {}
    for name, value in item.items():
        try:
            decoded[name] = decode_value(value)
        except MalformedRecord as error:
            raise error.under(name) from None
    return decoded


def _decoded_list(content: list[Any]) -> list[Value]:
    values: list[Value] = []
    for value in content:
        try:
            values.append(decode_value(value))
        except MalformedRecord as error:
            raise error.under(len(values)) from None
    return values


def _null_or_fault(tag: str, content: object) -> Value:
    """NULL, or the empty map of `split`; what comes here of other tags is not of their type."""
    if tag == "NULL" and content is True:
        return None
    if tag == "M" and content == {}:
        return {}
    raise MalformedRecord(_FAULTS[tag])


_FAULTS = {
    "S": "a string (S) is text",
    "BOOL": "a boolean (BOOL) is true or false",
    "NULL": "NULL has the content true",
    "M": "a map (M) is an object",
    "L": "a list (L) is an array",
}


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    raise MalformedRecord(_FAULTS["S"])


def _binary(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        try:
            return a2b_base64(content, strict_mode=True)
        except ValueError as error:
            raise MalformedRecord("binary (B) is base64 text") from error
    if isinstance(content, bytearray):
        return bytes(content)
    binary = bytes_of(content)
    if binary is not None:
        return binary
    raise MalformedRecord("binary (B) is base64 text or bytes")


def _members(tag: str, content: object) -> set[Value]:
    """The members of a set."""
    if not isinstance(content, (list, set, frozenset)):
        raise MalformedRecord("a set (SS, NS, BS) is an array")
    if tag == "SS":
        return {_text(member) for member in content}
    if tag == "NS":
        return {decode_number(member) for member in content}
    return {_binary(member) for member in content}


# --- documents: what `orjson.dumps` writes exactly, straight from DynamoDB JSON without decoding -----------------


def json_value(value: object) -> Any:
    """A value for `orjson.dumps`, from DynamoDB JSON: exact digits, sets as sorted arrays, binary as base64.

    Raises:
        MalformedRecord: the value can't be read.
    """
    if isinstance(value, dict) and len(value) == 1:
        for tag, content in value.items():  # the only one
            if tag == "S" and isinstance(content, str):
                return content
            if tag == "N":
                return json_number(content)
            if tag == "M" and isinstance(content, dict):
                return json_item(content)
            if tag == "L" and isinstance(content, list):
                return _json_list(content)
            if tag == "BOOL" and isinstance(content, bool):
                return content
    tag, content = split(value)
    if tag not in _SETS:
        return _json_binary(content) if tag == "B" else _null_or_fault(tag, content)
    members = sorted(_members(tag, content))
    if tag == "NS":
        return [orjson.Fragment(_json_digits(member)) for member in members]
    return [b2a_base64(member, newline=False).decode() for member in members] if tag == "BS" else members


def json_item(item: RawItem) -> dict[str, Any]:
    """The document of all attributes, for `orjson.dumps`.

    Raises:
        MalformedRecord: one can't be read; `path` leads to it.
    """
    document: dict[str, Any] = {}
    for name, value in item.items():
        try:
            document[name] = json_value(value)
        except MalformedRecord as error:
            raise error.under(name) from None
    return document


def _json_list(content: list[Any]) -> list[Any]:
    values: list[Any] = []
    for value in content:
        try:
            values.append(json_value(value))
        except MalformedRecord as error:
            raise error.under(len(values)) from None
    return values


def json_number(text: object) -> orjson.Fragment:
    """The digits themselves as a JSON number."""
    if isinstance(text, str) and (_is_plain(text) or _JSON_NUMBER.fullmatch(text)):
        return orjson.Fragment(text)
    return orjson.Fragment(_json_digits(decode_number(text)))


def _is_plain(text: str) -> bool:
    """Is it written as JSON writes a natural number? Most are, and this is quicker than a regular expression."""
    return text.isdigit() and text.isascii() and (text[0] != "0" or text == "0")


def _json_digits(number: Number) -> str:
    if isinstance(number, int):
        return str(number)
    if not number.is_finite():
        raise TypeError(f"{number} is not a number that JSON has")
    return str(number)


def _json_binary(content: object) -> str:
    binary = _binary(content)
    return content if isinstance(content, str) else b2a_base64(binary, newline=False).decode()


def plain(value: Value) -> Any:
    """A value for `orjson.dumps`, from a decoded value: the same as `json_value` of its encoding.

    Raises:
        TypeError: a float that isn't finite, or a type that JSON doesn't have.
    """
    match value:
        case None | bool() | str() | orjson.Fragment():
            return value
        case int() | Decimal():
            return orjson.Fragment(_json_digits(value))
        case float():
            return orjson.Fragment(_json_digits(Decimal(repr(value))))
        case bytes() | bytearray():
            return b64encode(value).decode()
        case Mapping():
            return {str(name): plain(member) for name, member in value.items()}
        case list() | tuple():
            return [plain(member) for member in value]
        case set() | frozenset():
            return [plain(member) for member in sorted(value)]
    raise TypeError(f"{type(value).__name__} can't stand in a document")
