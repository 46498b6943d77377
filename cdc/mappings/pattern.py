"""Event patterns: which items. A pattern is total: what doesn't fit its type is no match, never an error.

The language is that of Amazon EventBridge ("Content filtering in event patterns") and Lambda's event filtering, over
items in DynamoDB JSON: exact values, null, exists, prefix, suffix, anything-but, equals-ignore-case, numeric, nested
maps and $or. A list or a set matches if a member does. Numbers are compared by exact value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import RawItem, decode_number

__all__ = ["Pattern", "compile_pattern"]

_Test = Callable[[str, Any], bool]
"""Tests the tag and content of one value that is no container."""
_Matcher = Callable[[Any], bool]
"""Tests an attribute value, or None where the attribute is absent."""
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_LEAVES = "prefix, suffix, anything-but, equals-ignore-case, numeric, exists"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern. `attributes`: the top-level attributes it reads; `pinned`: those it allows one value only."""

    matches: Callable[[RawItem], bool]
    attributes: frozenset[str]
    pinned: frozenset[str]


def compile_pattern(pattern: Mapping[str, Any]) -> Pattern:
    """Compile `pattern`; an empty one takes every item.

    Raises:
        ConfigError: it is no pattern; the message begins with the path to the fault.
    """
    matches = _compile_object(pattern, "where")
    return Pattern(matches=matches, attributes=_attributes(pattern), pinned=_pinned(pattern))


def _attributes(pattern: Mapping[str, Any]) -> frozenset[str]:
    names: set[str] = set()
    for name, inner in pattern.items():
        if name == "$or":
            for branch in inner:
                names |= _attributes(branch)
        else:
            names.add(name)
    return frozenset(names)


def _pinned(pattern: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        name
        for name, leaf in pattern.items()
        if name != "$or"
        and isinstance(leaf, list)
        and len(leaf) == 1
        and isinstance(leaf[0], str | int | float | Decimal)
        and not isinstance(leaf[0], bool)
    )


def _compile_object(pattern: Any, at: str) -> Callable[[RawItem], bool]:
    if not isinstance(pattern, Mapping):
        raise ConfigError(f"{at}: a pattern is a map of attribute names")
    conditions: list[tuple[str, _Matcher]] = []
    alternatives: list[Callable[[RawItem], bool]] = []
    for name, inner in pattern.items():
        if name == "$or":
            if not isinstance(inner, list) or not inner:
                raise ConfigError(f"{at}.$or: is a list of patterns, of which one has to match")
            alternatives = [_compile_object(branch, f"{at}.$or[{i}]") for i, branch in enumerate(inner)]
        elif isinstance(inner, list):
            conditions.append((str(name), _compile_leaf(inner, f"{at}.{name}")))
        elif isinstance(inner, Mapping):
            conditions.append((str(name), _compile_nested(inner, f"{at}.{name}")))
        else:
            raise ConfigError(f"{at}.{name}: is a list of values to match, or a nested pattern; write [{inner!r}]")

    def matches(item: RawItem) -> bool:
        for name, matcher in conditions:
            if not matcher(item.get(name)):
                return False
        return not alternatives or any(alternative(item) for alternative in alternatives)

    return matches


def _compile_nested(pattern: Mapping[str, Any], at: str) -> _Matcher:
    inside = _compile_object(pattern, at)

    def matches(value: Any) -> bool:
        if value is None:
            return inside({})
        tag, content = _split(value)
        if tag == "M" and isinstance(content, dict):
            return inside(content)
        if tag == "L" and isinstance(content, list):
            return any(matches(member) for member in content)
        return False

    return matches


def _compile_leaf(alternatives: Sequence[Any], at: str) -> _Matcher:
    if not alternatives:
        raise ConfigError(f"{at}: the list of values is empty: nothing could match")
    absent = False
    present = False
    tests: list[_Test] = []
    for position, alternative in enumerate(alternatives):
        here = f"{at}[{position}]"
        if isinstance(alternative, Mapping) and "exists" in alternative:
            _one_key(alternative, here)
            if not isinstance(alternative["exists"], bool):
                raise ConfigError(f"{here}.exists: is true or false")
            present = present or alternative["exists"]
            absent = absent or not alternative["exists"]
        else:
            tests.append(_compile_test(alternative, here))

    def matches(value: Any) -> bool:
        if value is None:
            return absent
        return present or _any_member(value, tests)

    return matches


def _any_member(value: Any, tests: Sequence[_Test]) -> bool:
    tag, content = _split(value)
    if tag in ("SS", "NS"):
        return isinstance(content, list | set | frozenset) and any(
            test(tag[0], member) for member in content for test in tests
        )
    if tag == "L":
        return isinstance(content, list) and any(_any_member(member, tests) for member in content)
    return any(test(tag, content) for test in tests)


def _split(value: Any) -> tuple[str, Any]:
    if isinstance(value, dict) and len(value) == 1:
        for tag, content in value.items():  # the only one
            return tag, content
    return "", None


def _one_key(test: Mapping[str, Any], at: str) -> None:
    if len(test) != 1:
        raise ConfigError(f"{at}: one test at a time; give each a place of its own in the list")


def _compile_test(test: Any, at: str) -> _Test:
    if isinstance(test, Mapping):
        _one_key(test, at)
        ((kind, argument),) = test.items()
        match kind:
            case "prefix" | "suffix" | "equals-ignore-case":
                return _text_test(kind, argument, at)
            case "anything-but":
                return _anything_but(argument, f"{at}.anything-but")
            case "numeric":
                return _numeric(argument, f"{at}.numeric")
        raise ConfigError(f"{at}: unknown test {kind!r}; there are {_LEAVES}")
    return _exact(test, at)


def _text_test(kind: str, argument: Any, at: str) -> _Test:
    if not isinstance(argument, str):
        raise ConfigError(f"{at}.{kind}: is a text")
    if kind == "prefix":
        return lambda tag, content: tag == "S" and isinstance(content, str) and content.startswith(argument)
    if kind == "suffix":
        return lambda tag, content: tag == "S" and isinstance(content, str) and content.endswith(argument)
    folded = argument.casefold()
    return lambda tag, content: tag == "S" and isinstance(content, str) and content.casefold() == folded


def _exact(wanted: Any, at: str) -> _Test:
    match wanted:
        case None:
            return lambda tag, content: tag == "NULL" and content is True
        case bool():
            return lambda tag, content: tag == "BOOL" and content is wanted
        case str():
            return lambda tag, content: tag == "S" and content == wanted
        case int() | float() | Decimal():
            return _compare("=", _number(wanted, at))
    raise ConfigError(f"{at}: is a text, a number, true, false, null, or a test ({_LEAVES})")


def _anything_but(argument: Any, at: str) -> _Test:
    excluded = argument if isinstance(argument, list) else [argument]
    if not excluded:
        raise ConfigError(f"{at}: the list is empty")
    tests = [_compile_test(value, f"{at}[{position}]") for position, value in enumerate(excluded)]
    return lambda tag, content: not any(test(tag, content) for test in tests)


def _numeric(argument: Any, at: str) -> _Test:
    if not isinstance(argument, list) or not argument or len(argument) % 2:
        raise ConfigError(f"{at}: is a list of comparisons and numbers, such as ['>', 0, '<=', 100]")
    tests: list[_Test] = []
    for comparison, bound in zip(argument[::2], argument[1::2], strict=True):
        if comparison not in _COMPARISONS:
            raise ConfigError(f"{at}: unknown comparison {comparison!r}; there are {' '.join(_COMPARISONS)}")
        tests.append(_compare(comparison, _number(bound, at)))
    return lambda tag, content: all(test(tag, content) for test in tests)


def _compare(comparison: str, bound: Decimal) -> _Test:
    compare = _COMPARISONS[comparison]

    def test(tag: str, content: Any) -> bool:
        if tag != "N":
            return False
        try:
            return compare(decode_number(content), bound)
        except MalformedRecord:
            return False

    return test


def _number(value: Any, at: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ConfigError(f"{at}: {value!r} is no number")
    exact = Decimal(str(value))
    if not exact.is_finite():
        raise ConfigError(f"{at}: {value!r} is no number that DynamoDB has")
    return exact
