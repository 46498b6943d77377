"""A compiled pattern agrees with a plain reading of the pattern language."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdc.mappings.pattern import compile_pattern
from cdc.records.attributes import decode_value, encode_item

NAMES = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["", "x", "xy", "XY", "yx", "1"])
NUMBERS = st.sampled_from([0, 1, 2, Decimal("1.0"), Decimal("1.5"), Decimal("-2E+3")])
SCALARS = WORDS | NUMBERS | st.booleans() | st.none()
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | st.frozensets(WORDS, min_size=1, max_size=3) | st.frozensets(NUMBERS, min_size=1, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
ITEMS = st.dictionaries(NAMES, VALUES, max_size=3)
SIMPLE_TESTS = (
    WORDS
    | NUMBERS
    | st.booleans()
    | st.none()
    | st.builds(lambda word: {"prefix": word}, WORDS)
    | st.builds(lambda word: {"suffix": word}, WORDS)
    | st.builds(lambda word: {"equals-ignore-case": word}, WORDS)
    | st.builds(lambda low, high: {"numeric": [">", low, "<=", high]}, NUMBERS, NUMBERS)
)
TESTS = (
    SIMPLE_TESTS
    | st.builds(lambda there: {"exists": there}, st.booleans())
    | st.builds(lambda excluded: {"anything-but": excluded}, st.lists(WORDS | NUMBERS, min_size=1, max_size=2))
)
PATTERNS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(NAMES, st.lists(TESTS, min_size=1, max_size=3), max_size=3),
    lambda inner: (
        st.dictionaries(NAMES, inner, max_size=2)
        | st.builds(lambda branches: {"$or": branches}, st.lists(inner, min_size=1, max_size=2))
    ),
    max_leaves=4,
)
ABSENT = object()


@given(PATTERNS, ITEMS)
def test_a_compiled_pattern_says_what_the_language_says(pattern: dict[str, Any], item: dict[str, Any]) -> None:
    assert compile_pattern(pattern).matches(encode_item(item)) == _object(pattern, item)


@given(PATTERNS, st.dictionaries(NAMES, st.dictionaries(st.sampled_from("SNM?"), SCALARS, max_size=2), max_size=3))
def test_a_pattern_never_raises_on_what_is_no_item(pattern: dict[str, Any], item: dict[str, Any]) -> None:
    assert compile_pattern(pattern).matches(item) in (True, False)


def _object(pattern: dict[str, Any], item: dict[str, Any]) -> bool:
    for name, inner in pattern.items():
        if name == "$or":
            if not any(_object(branch, item) for branch in inner):
                return False
        elif not _matches(inner, item.get(name, ABSENT)):
            return False
    return True


def _matches(inner: Any, value: Any) -> bool:
    if isinstance(inner, dict):
        if value is ABSENT:
            return _object(inner, {})
        if isinstance(value, list):
            return any(_matches(inner, member) for member in value)
        return isinstance(value, dict) and _object(inner, value)
    return any(_leaf(test, value) for test in inner)


def _leaf(test: Any, value: Any) -> bool:
    if isinstance(test, dict) and "exists" in test:
        return bool(test["exists"]) == (value is not ABSENT)
    if value is ABSENT:
        return False
    if isinstance(value, list | frozenset):
        return any(_leaf(test, member) for member in value)
    return _scalar(test, value)


def _scalar(test: Any, value: Any) -> bool:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if isinstance(test, dict):
        ((kind, argument),) = test.items()
        if kind == "anything-but":
            return not any(_scalar(excluded, value) for excluded in argument)
        if kind == "numeric":
            return is_number and bool(argument[1] < value <= argument[3])
        if not isinstance(value, str):
            return False
        return bool(
            {
                "prefix": value.startswith(argument),
                "suffix": value.endswith(argument),
                "equals-ignore-case": value.casefold() == argument.casefold(),
            }[kind]
        )
    if isinstance(test, bool) or test is None:
        return value is test
    if isinstance(test, str):
        return isinstance(value, str) and value == test
    return is_number and bool(value == test)


def test_values_of_the_plain_reading_are_those_that_are_decoded() -> None:
    assert decode_value({"NS": ["1", "1.5"]}) == frozenset({1, Decimal("1.5")})
