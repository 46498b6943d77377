"""Wider patterns: does one event pattern take every item that another takes?

Decided from what they say: where True is answered it is so, and where nothing shows it the answer is False.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import Any

__all__ = ["is_within", "same"]

_Conditions = Sequence[tuple[str, Any]]
_MOST_BRANCHES = 256
"""A pattern with more combinations of `$or` than this is not looked into."""


def is_within(narrow: Mapping[str, Any], wide: Mapping[str, Any]) -> bool:
    """Does `wide` surely take every item that `narrow` takes?"""
    if same(narrow) == same(wide):
        return True
    branches = _branches(narrow)
    return branches is not None and all(_implies(branch, wide) for branch in branches)


def same(value: Any) -> Hashable:
    """A part of a pattern as a value that equals another's if both mean the same: numbers are compared exactly."""
    match value:
        case bool():
            return "bool", value
        case int() | float() | Decimal():
            return "number", Decimal(str(value))
        case Mapping():
            return "map", frozenset((name, same(inner)) for name, inner in value.items())
        case list() | tuple():
            return "list", tuple(map(same, value))
    return type(value).__name__, value


def _branches(pattern: Mapping[str, Any]) -> list[_Conditions] | None:
    """The pattern as a list of conditions all of which hold, for each way to choose from its `$or`s. None: too many."""
    common = [(name, inner) for name, inner in pattern.items() if name != "$or"]
    if "$or" not in pattern:
        return [common]
    found: list[_Conditions] = []
    for branch in pattern["$or"]:
        inside = _branches(branch)
        if inside is None or len(found) + len(inside) > _MOST_BRANCHES:
            return None
        found += [[*common, *conditions] for conditions in inside]
    return found


def _implies(conditions: _Conditions, wide: Mapping[str, Any]) -> bool:
    """Whenever all of `conditions` hold, does `wide` match?"""
    return all(
        any(_implies(conditions, branch) for branch in inner)
        if name == "$or"
        else any(known == name and _condition_implies(told, inner) for known, told in conditions)
        for name, inner in wide.items()
    )


def _condition_implies(told: Any, asked: Any) -> bool:
    if isinstance(told, Mapping) and isinstance(asked, Mapping):
        return is_within(told, asked)
    if isinstance(told, list) and isinstance(asked, list):
        return all(any(_test_implies(one, other) for other in asked) for one in told)
    return False


def _test_implies(told: Any, asked: Any) -> bool:
    """Whatever value passes the first test, does it pass the second?"""
    if same(told) == same(asked):
        return True
    name, argument = _named(told)
    asked_name, wanted = _named(asked)
    match asked_name:
        case "exists":
            return wanted is True and name != "exists"  # every other test is of a value that is there
        case "prefix" if isinstance(wanted, str):
            return name in ("exact", "prefix") and isinstance(argument, str) and argument.startswith(wanted)
        case "suffix" if isinstance(wanted, str):
            return name in ("exact", "suffix") and isinstance(argument, str) and argument.endswith(wanted)
        case "anything-but" if name == "anything-but":
            fewer, more = _listed(wanted), _listed(argument)
            return all(map(_is_plain, (*fewer, *more))) and set(map(same, fewer)) <= set(map(same, more))
    return False


def _named(test: Any) -> tuple[str, Any]:
    if not isinstance(test, Mapping):
        return "exact", test
    ((name, argument),) = test.items() if len(test) == 1 else (("", None),)
    return name, argument


def _listed(argument: Any) -> list[Any]:
    return argument if isinstance(argument, list) else [argument]


def _is_plain(value: Any) -> bool:
    """Is it a text or a number? The negation of other tests is not looked into."""
    return isinstance(value, str | int | float | Decimal) and not isinstance(value, bool)
