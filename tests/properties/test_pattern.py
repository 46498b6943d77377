"""A compiled pattern agrees with a plain reading of the pattern language."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdc.mappings.pattern import compile_pattern, part_of
from cdc.records.attributes import decode_value, encode_item

NAMES = st.sampled_from(["a", "b", "c", "a.b"])
PATHS = st.sampled_from(["a", "b", "c", "a.b", "b.a", "a.b.c", r"a\.b", r"c.a\.b"])
"""Names of attributes as a pattern has them: a dot is a step into a map, unless a backslash stands before it."""
WORDS = st.sampled_from(["", "x", "xy", "XY", "yx", "1", "10.0.0.1", "10.0.1.1", "x*y"])
PARTS = st.sampled_from(["x", "xy", "XY", "y", "1", "10."])
WILDCARDS = st.sampled_from(["*", "x*", "*y", "x*y", "*x*", "x", r"x\*y", "*0*1", "x*x", "1*.*1"])
RANGES = st.sampled_from(["10.0.0.0/24", "10.0.0.0/16", "10.0.0.1", "2001:db8::/32", "::1"])
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
IGNORING_CASE = st.builds(
    lambda kind, word: {kind: {"equals-ignore-case": word}}, st.sampled_from(["prefix", "suffix"]), PARTS
)
OTHER_TESTS = (
    IGNORING_CASE
    | st.builds(lambda pattern: {"wildcard": pattern}, WILDCARDS)
    | st.builds(lambda addresses: {"cidr": addresses}, RANGES)
)
EXCLUDED = (
    st.builds(
        lambda kind, words: {kind: words},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case"]),
        PARTS | st.lists(PARTS, min_size=1, max_size=2),
    )
    | st.builds(lambda patterns: {"wildcard": patterns}, WILDCARDS | st.lists(WILDCARDS, min_size=1, max_size=2))
    | IGNORING_CASE
    | WORDS
    | NUMBERS
)
TESTS = (
    SIMPLE_TESTS
    | OTHER_TESTS
    | st.builds(lambda excluded: {"anything-but": excluded}, EXCLUDED)
    | st.builds(lambda there: {"exists": there}, st.booleans())
    | st.builds(lambda excluded: {"anything-but": excluded}, st.lists(WORDS | NUMBERS, min_size=1, max_size=2))
)
PATTERNS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(PATHS, st.lists(TESTS, min_size=1, max_size=3), max_size=3),
    lambda inner: (
        st.dictionaries(PATHS, inner, max_size=2)
        | st.builds(lambda branches: {"$or": branches}, st.lists(inner, min_size=1, max_size=2))
    ),
    max_leaves=4,
)
ABSENT = object()


@given(PATTERNS, ITEMS)
def test_a_compiled_pattern_says_what_the_language_says(pattern: dict[str, Any], item: dict[str, Any]) -> None:
    assert compile_pattern(pattern).matches(encode_item(item)) == _object(pattern, item)


@given(PATTERNS, ITEMS, st.sets(NAMES))
def test_what_a_pattern_matches_each_part_of_it_matches_by_its_attributes_alone(
    pattern: dict[str, Any], item: dict[str, Any], names: set[str]
) -> None:
    if compile_pattern(pattern).matches(encode_item(item)):
        seen = {name: value for name, value in item.items() if name in names}
        assert compile_pattern(part_of(pattern, names)).matches(encode_item(seen))


@given(PATTERNS, st.dictionaries(NAMES, st.dictionaries(st.sampled_from("SNM?"), SCALARS, max_size=2), max_size=3))
def test_a_pattern_never_raises_on_what_is_no_item(pattern: dict[str, Any], item: dict[str, Any]) -> None:
    assert compile_pattern(pattern).matches(item) in (True, False)


def _object(pattern: dict[str, Any], item: dict[str, Any]) -> bool:
    for path, inner in pattern.items():
        if path == "$or":
            if not any(_object(branch, item) for branch in inner):
                return False
            continue
        name, *steps = [step.replace("\0", ".") for step in path.replace(r"\.", "\0").split(".")]
        wanted = inner
        for step in reversed(steps):
            wanted = {step.replace(".", r"\."): wanted}
        if not _matches(wanted, item.get(name, ABSENT)):
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
    if value is ABSENT or isinstance(value, dict):
        return False
    if isinstance(value, list | frozenset):
        return any(_leaf(test, member) for member in value)
    return _scalar(test, value)


def _scalar(test: Any, value: Any) -> bool:
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if isinstance(test, dict):
        ((kind, argument),) = test.items()
        if kind == "anything-but":
            return not any(_scalar(excluded, value) for excluded in _each(argument))
        if kind == "numeric":
            return is_number and bool(argument[1] < value <= argument[3])
        return isinstance(value, str) and _text(kind, argument, value)
    if isinstance(test, bool) or test is None:
        return value is test
    if isinstance(test, str):
        return isinstance(value, str) and value == test
    return is_number and bool(value == test)


def _each(excluded: Any) -> list[Any]:
    if isinstance(excluded, dict):
        ((kind, argument),) = excluded.items()
        return [{kind: one} for one in argument] if isinstance(argument, list) else [excluded]
    return excluded if isinstance(excluded, list) else [excluded]


def _text(kind: str, argument: Any, value: str) -> bool:
    if isinstance(argument, dict):
        return _text(kind, argument["equals-ignore-case"].casefold(), value.casefold())
    if kind == "wildcard":
        parts = re.split(r"(\\\*|\*)", argument)
        pattern = "".join({"*": ".*", "\\*": r"\*"}.get(part) or re.escape(part) for part in parts)
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    if kind == "cidr":
        try:
            return ip_address(value) in ip_network(argument)
        except ValueError:
            return False
    return bool(
        {
            "prefix": value.startswith(argument),
            "suffix": value.endswith(argument),
            "equals-ignore-case": value.casefold() == argument.casefold(),
        }[kind]
    )


def test_values_of_the_plain_reading_are_those_that_are_decoded() -> None:
    assert decode_value({"NS": ["1", "1.5"]}) == frozenset({1, Decimal("1.5")})


def matches(where: dict[str, Any], **item: Any) -> bool:
    return compile_pattern(where).matches(encode_item(item))


def test_a_dot_is_a_step_into_a_map_and_a_backslash_makes_it_one_of_the_name() -> None:
    assert matches({"address.city": ["Bern"]}, address={"city": "Bern"})
    assert matches({"address.city": ["Bern"]}, address=[{"city": "Basel"}, {"city": "Bern"}])
    assert not matches({"address.city": ["Bern"]}, **{"address.city": "Bern"})
    assert matches({r"address\.city": ["Bern"]}, **{"address.city": "Bern"})
    assert matches({"address.city": [{"exists": False}]})
    assert matches({"a.b": {"c.d": ["x"]}}, a={"b": {"c": {"d": "x"}}})
    assert compile_pattern({"a.b": ["x"], r"c\.d": ["y"]}).attributes == {"a", "c.d"}
    assert compile_pattern({"a.b": ["x"], r"c\.d": ["y"]}).pinned == {"c.d"}


def test_anything_but_matches_no_map_no_list_of_maps_and_no_empty_list() -> None:
    where = {"a": [{"anything-but": ["x"]}]}
    value: Any
    for value in ({}, {"b": "y"}, [{}], [{"b": "y"}], []):
        assert not matches(where, a=value)
        assert matches({"a": [{"exists": True}]}, a=value)
    for value in ("y", 1, True, None, ["x", "y"], ["x", {"b": "y"}, 1]):
        assert matches(where, a=value)
    assert not compile_pattern(where).matches({"a": {}})


def test_a_value_without_a_tag_is_an_empty_map_to_a_pattern() -> None:
    assert compile_pattern({"a": {"b": [{"exists": False}]}}).matches({"a": {}})
    assert not compile_pattern({"a": {"b": ["x"]}}).matches({"a": {}})
