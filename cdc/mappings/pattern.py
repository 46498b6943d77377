"""Event patterns: which items. A pattern is total: what doesn't fit its type is no match, never an error.

The language is that of Amazon EventBridge ("Content filtering in event patterns") and Lambda's event filtering, over
items in DynamoDB JSON: exact values, null, exists, prefix, suffix, anything-but, equals-ignore-case, numeric, nested
maps and $or. A list or a set matches if a member does. Numbers are compared by exact value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from operator import eq, ge, gt, le, lt
from typing import Any

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import RawItem, decode_number

__all__ = ["Pattern", "compile_pattern", "faults_of_pattern"]

_Test = Callable[[str, Any], bool]
"""Tests the tag and content of one value that is no container."""
_Matcher = Callable[[Any], bool]
"""Tests an attribute value, or None where the attribute is absent."""
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_Place = tuple[str | int, ...]
_Faults = list[tuple[_Place, str]]
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
        ConfigError: it is no pattern; `faults_of_pattern` has every reason.
    """
    faults: _Faults = []
    matches = _compile_object(pattern, (), faults)
    if faults:
        raise ConfigError(f"where: {faults[0][1]}")
    return Pattern(matches=matches, attributes=_attributes(pattern), pinned=_pinned(pattern))


def faults_of_pattern(pattern: Any) -> list[tuple[tuple[str | int, ...], str]]:
    """Every fault of a pattern: the names and positions that lead there, and what is wrong."""
    faults: _Faults = []
    _compile_object(pattern, (), faults)
    return faults


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


def _compile_object(pattern: Any, at: _Place, faults: _Faults) -> Callable[[RawItem], bool]:
    conditions: list[tuple[str, _Matcher]] = []
    alternatives: list[Callable[[RawItem], bool]] = []
    if not isinstance(pattern, Mapping):
        faults.append((at, "a pattern is a map of attribute names"))
        pattern = {}
    for name, inner in pattern.items():
        here = (*at, str(name))
        if not isinstance(name, str):
            faults.append((here, f"the name {str(name).lower()} is no text; put it in quotes"))
        elif name == "$or":
            if not isinstance(inner, list) or not inner:
                faults.append((here, "is a list of patterns, of which one has to match"))
                continue
            alternatives = [_compile_object(branch, (*here, i), faults) for i, branch in enumerate(inner)]
        elif isinstance(inner, list):
            conditions.append((name, _compile_leaf(inner, here, faults)))
        elif isinstance(inner, Mapping):
            conditions.append((name, _compile_nested(inner, here, faults)))
        else:
            faults.append((here, f"is a list of values to match, or a nested pattern; write [{_shown(inner)}]"))

    def matches(item: RawItem) -> bool:
        for name, matcher in conditions:
            if not matcher(item.get(name)):
                return False
        return not alternatives or any(alternative(item) for alternative in alternatives)

    return matches


def _compile_nested(pattern: Mapping[str, Any], at: _Place, faults: _Faults) -> _Matcher:
    inside = _compile_object(pattern, at, faults)

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


def _compile_leaf(alternatives: Sequence[Any], at: _Place, faults: _Faults) -> _Matcher:
    if not alternatives:
        faults.append((at, "the list of values is empty: nothing could match"))
    absent = False
    present = False
    tests: list[_Test] = []
    for position, alternative in enumerate(alternatives):
        here = (*at, position)
        if isinstance(alternative, Mapping) and "exists" in alternative:
            _one_key(alternative, here, faults)
            if not isinstance(alternative["exists"], bool):
                faults.append(((*here, "exists"), "is true or false"))
            present = present or alternative["exists"] is True
            absent = absent or alternative["exists"] is False
        else:
            tests.append(_compile_test(alternative, here, faults))

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


def _one_key(test: Mapping[str, Any], at: _Place, faults: _Faults) -> bool:
    if len(test) == 1:
        return True
    faults.append((at, "one test at a time; give each a place of its own in the list"))
    return False


def _never(tag: str, content: Any) -> bool:
    return False


def _compile_test(test: Any, at: _Place, faults: _Faults) -> _Test:
    if not isinstance(test, Mapping):
        return _exact(test, at, faults)
    if not _one_key(test, at, faults):
        return _never
    ((kind, argument),) = test.items()
    match kind:
        case "prefix" | "suffix" | "equals-ignore-case":
            return _text_test(kind, argument, (*at, kind), faults)
        case "anything-but":
            return _anything_but(argument, (*at, kind), faults)
        case "numeric":
            return _numeric(argument, (*at, kind), faults)
    faults.append((at, f"unknown test {kind!r}; there are {_LEAVES}"))
    return _never


def _text_test(kind: str, argument: Any, at: _Place, faults: _Faults) -> _Test:
    if not isinstance(argument, str):
        faults.append((at, "is a text"))
        return _never
    if kind == "prefix":
        return lambda tag, content: tag == "S" and isinstance(content, str) and content.startswith(argument)
    if kind == "suffix":
        return lambda tag, content: tag == "S" and isinstance(content, str) and content.endswith(argument)
    folded = argument.casefold()
    return lambda tag, content: tag == "S" and isinstance(content, str) and content.casefold() == folded


def _exact(wanted: Any, at: _Place, faults: _Faults) -> _Test:
    match wanted:
        case None:
            return lambda tag, content: tag == "NULL" and content is True
        case bool():
            return lambda tag, content: tag == "BOOL" and content is wanted
        case str():
            return lambda tag, content: tag == "S" and content == wanted
        case int() | float() | Decimal():
            return _compare("=", _number(wanted, at, faults))
    faults.append((at, f"is a text, a number, true, false, null, or a test ({_LEAVES})"))
    return _never


def _anything_but(argument: Any, at: _Place, faults: _Faults) -> _Test:
    if not isinstance(argument, list):
        excluded = _compile_test(argument, at, faults)
        return lambda tag, content: not excluded(tag, content)
    if not argument:
        faults.append((at, "the list is empty"))
    tests = [_compile_test(value, (*at, position), faults) for position, value in enumerate(argument)]
    return lambda tag, content: not any(test(tag, content) for test in tests)


def _numeric(argument: Any, at: _Place, faults: _Faults) -> _Test:
    if not isinstance(argument, list) or not argument or len(argument) % 2:
        faults.append((at, "is a list of comparisons and numbers, such as ['>', 0, '<=', 100]"))
        return _never
    tests: list[_Test] = []
    for position in range(0, len(argument), 2):
        comparison, bound = argument[position], _number(argument[position + 1], (*at, position + 1), faults)
        if isinstance(comparison, str) and comparison in _COMPARISONS:
            tests.append(_compare(comparison, bound))
        else:
            faults.append(
                ((*at, position), f"unknown comparison {_shown(comparison)}; there are {' '.join(_COMPARISONS)}")
            )
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


def _number(value: Any, at: _Place, faults: _Faults) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        faults.append((at, f"{_shown(value)} is no number" + ("; write it without quotes" if _reads(value) else "")))
        return Decimal(0)
    exact = Decimal(str(value))
    if not exact.is_finite():
        faults.append((at, f"{value!s} is no number that DynamoDB has"))
    return exact


def _reads(text: Any) -> bool:
    """Would the text be a number without its quotes?"""
    try:
        return isinstance(text, str) and Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _shown(value: Any) -> str:
    """A value as it stands in YAML."""
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    return repr(value) if isinstance(value, str) else str(value)
