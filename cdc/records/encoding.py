"""Exact values -> DynamoDB JSON; `cdc.records.attributes` has both directions."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

__all__ = ["bytes_of", "encode_item", "encode_value", "lambda_json"]


def encode_value(value: Any) -> dict[str, Any]:
    """`{tag: content}` as JSON has it (binary as base64 text): the inverse of `decode_value`.

    Raises:
        TypeError: the value is none that DynamoDB has: a float, an empty or a mixed set, a number of 39 digits, …
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": _digits(value)}
        case bytes() | bytearray():
            return {"B": b64encode(value).decode()}
        case Mapping():
            return {"M": encode_item(value)}
        case list() | tuple():
            return {"L": [encode_value(member) for member in value]}
        case set() | frozenset():
            return _encode_set(value)
    binary = bytes_of(value)
    if binary is not None:
        return {"B": b64encode(binary).decode()}
    raise TypeError(f"{type(value).__name__} is not a DynamoDB type; use Decimal for numbers with a fraction")


def _encode_set(members: set[Any] | frozenset[Any]) -> dict[str, Any]:
    if members and all(isinstance(member, str) for member in members):
        return {"SS": sorted(members)}
    if members and all(isinstance(member, int | Decimal) and not isinstance(member, bool) for member in members):
        return {"NS": [_digits(member) for member in sorted(members)]}
    binaries = [found for found in map(bytes_of, members) if found is not None]
    if members and len(binaries) == len(members):
        return {"BS": [b64encode(binary).decode() for binary in sorted(binaries)]}
    raise TypeError("a DynamoDB set has members, all strings, all numbers or all bytes")


def bytes_of(value: object) -> bytes | None:
    """Bytes, or the content of boto3's `Binary`, which this library does not import."""
    if isinstance(value, bytes):
        return value
    content = getattr(value, "value", None)
    return bytes(content) if isinstance(content, bytes | bytearray) else None


_MAX_DIGITS = 38
_MAX_EXPONENT = 125
_MIN_EXPONENT = -130
"""Amazon DynamoDB Developer Guide, "Supported data types": Number."""


def _digits(number: int | Decimal) -> str:
    text = str(number)
    if isinstance(number, int):
        if -(10**_MAX_DIGITS) < number < 10**_MAX_DIGITS:
            return text
        number = Decimal(number)
    if not number.is_finite():
        raise TypeError(f"{number} is not a DynamoDB number")
    significant = "".join(map(str, number.as_tuple().digits)).strip("0")
    if len(significant) > _MAX_DIGITS:
        raise TypeError(f"{text:.50} has {len(significant)} digits; a DynamoDB number has at most {_MAX_DIGITS}")
    if significant and not _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT:
        raise TypeError(f"{text:.50} is not a DynamoDB number: they reach from 1E-130 to 9.99…E+125")
    return text


def encode_item(item: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All attributes as DynamoDB JSON: the inverse of `decode_item`."""
    return {name: encode_value(value) for name, value in item.items()}


def lambda_json(value: object) -> Any:
    """A value that JSON has not, as Lambda's events have it: binary as base64, times as epoch seconds."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case datetime():
            return value.timestamp()
        case Decimal():
            return float(value)
        case set() | frozenset():
            return sorted(value)
    return str(value)
