"""Differences: what differs between two images of an item, without decoding what does not."""

from __future__ import annotations

from typing import Any

import msgspec

from cdc.errors import MalformedRecord
from cdc.records.attributes import RawItem, Value, decode_value, split

__all__ = ["Added", "Changed", "Difference", "Path", "Removed", "raw_differences"]

Path = tuple[str | int, ...]
"""Attribute names and list indexes, outermost first."""


class Added(msgspec.Struct, frozen=True):
    """There was nothing at the path."""

    after: Value


class Removed(msgspec.Struct, frozen=True):
    """There is nothing at the path any more."""

    before: Value


class Changed(msgspec.Struct, frozen=True):
    """Another value, or the same of another type."""

    before: Value
    after: Value


Difference = Added | Removed | Changed
"""How one path differs between two images."""


def raw_differences(before: RawItem, after: RawItem) -> dict[Path, Difference]:
    """The differences of two items in DynamoDB JSON, by path.

    Numbers are compared by value, sets as sets, lists by index, NULL unlike absent.

    Raises:
        MalformedRecord: what differs can't be read; `path` leads to it.
    """
    found: dict[Path, Difference] = {}
    _compare_items(before, after, (), found)
    return found


def _compare_items(before: RawItem, after: RawItem, at: Path, found: dict[Path, Difference]) -> None:
    in_both = len(before)
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            in_both -= 1
            found[(*at, name)] = Removed(_value(old, (*at, name)))
        elif old != new:
            _compare_values(old, new, (*at, name), found)
    if in_both == len(after):
        return
    for name, value in after.items():
        if name not in before:
            found[(*at, name)] = Added(_value(value, (*at, name)))


def _compare_lists(before: list[Any], after: list[Any], at: Path, found: dict[Path, Difference]) -> None:
    for position in range(max(len(before), len(after))):
        if position >= len(after):
            found[(*at, position)] = Removed(_value(before[position], (*at, position)))
        elif position >= len(before):
            found[(*at, position)] = Added(_value(after[position], (*at, position)))
        elif before[position] != after[position]:
            _compare_values(before[position], after[position], (*at, position), found)


def _compare_values(old: object, new: object, at: Path, found: dict[Path, Difference]) -> None:
    try:
        (old_tag, old_content), (new_tag, new_content) = split(old), split(new)
    except MalformedRecord as error:
        raise error.under(*at) from None
    if old_tag == new_tag == "M" and isinstance(old_content, dict) and isinstance(new_content, dict):
        _compare_items(old_content, new_content, at, found)
    elif old_tag == new_tag == "L" and isinstance(old_content, list) and isinstance(new_content, list):
        _compare_lists(old_content, new_content, at, found)
    elif (old == {} or new == {}) and old_tag in "ML" and new_tag in "ML" and not old_content and not new_content:
        pass  # an empty map or list that lost its tag is what it was
    else:
        before, after = _value(old, at), _value(new, at)
        if old_tag != new_tag or before != after:
            found[at] = Changed(before, after)


def _value(raw: object, at: Path) -> Value:
    try:
        return decode_value(raw)
    except MalformedRecord as error:
        raise error.under(*at) from None
