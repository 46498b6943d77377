"""Event patterns: which items. A pattern is total: what doesn't fit its type is no match, never an error.

The language is that of Amazon EventBridge ("Content filtering in event patterns") and Lambda's event filtering, over
items in DynamoDB JSON. A dot of a name is a step into a map, `\\.` the dot itself. A list or a set matches if a member
does. Numbers are compared by exact value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cdc.errors import ConfigError
from cdc.mappings.model import split_path
from cdc.mappings.value_tests import Faults, Place, ValueTest, compile_test, has_one_key, shown
from cdc.records.attributes import RawItem

__all__ = ["Pattern", "compile_pattern", "faults_of_pattern", "part_of"]

_Items = Callable[[RawItem], bool]
_Matcher = Callable[[Any], bool]
"""Tests an attribute value, or None where the attribute is absent."""


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
    faults: Faults = []
    matches = _compile_object(pattern, (), faults)
    if faults:
        raise ConfigError(f"where: {faults[0][1]}")
    return Pattern(matches=matches, attributes=_attributes(pattern), pinned=_pinned(pattern))


def faults_of_pattern(pattern: Any) -> list[tuple[Place, str]]:
    """Every fault of a pattern: the names and positions that lead there, and what is wrong."""
    faults: Faults = []
    _compile_object(pattern, (), faults)
    return faults


def part_of(pattern: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The conditions on these top-level attributes: whatever `pattern` matches, matches this too."""
    found = {name: inner for name, inner in pattern.items() if name != "$or" and split_path(name)[0] in names}
    branches = [part_of(branch, names) for branch in pattern.get("$or", ())]
    return {**found, "$or": branches} if branches and all(branches) else found


def _attributes(pattern: Mapping[str, Any]) -> frozenset[str]:
    names: set[str] = set()
    for name, inner in pattern.items():
        if name == "$or":
            for branch in inner:
                names |= _attributes(branch)
        else:
            names.add(split_path(name)[0])
    return frozenset(names)


def _pinned(pattern: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        split_path(name)[0]
        for name, leaf in pattern.items()
        if name != "$or"
        and len(split_path(name)) == 1
        and isinstance(leaf, list)
        and len(leaf) == 1
        and isinstance(leaf[0], str | int | float | Decimal)
        and not isinstance(leaf[0], bool)
    )


def _compile_object(pattern: Any, at: Place, faults: Faults) -> _Items:
    conditions: list[tuple[str, _Matcher]] = []
    alternatives: list[_Items] = []
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
        else:
            conditions.append(_compile_path(name, inner, here, faults))
    return _all_of(conditions, alternatives)


def _all_of(conditions: Sequence[tuple[str, _Matcher]], alternatives: Sequence[_Items] = ()) -> _Items:
    def matches(item: RawItem) -> bool:
        for name, matcher in conditions:
            if not matcher(item.get(name)):
                return False
        return not alternatives or any(alternative(item) for alternative in alternatives)

    return matches


def _compile_path(name: str, inner: Any, at: Place, faults: Faults) -> tuple[str, _Matcher]:
    """The first attribute of a dotted path, and what its value has to be."""
    path = split_path(name)
    first = path[0]
    if "" in path:
        faults.append((at, "a step of the path has no name; a dot of a name itself is written \\."))
    if "$or" in path:
        faults.append((at, "$or is no step of a path; write {attribute: {$or: […]}}"))
        return first, _absent_only
    matcher: _Matcher = _absent_only
    if isinstance(inner, list):
        matcher = _compile_leaf(inner, at, faults)
    elif isinstance(inner, Mapping):
        matcher = _within(_compile_object(inner, at, faults))
    else:
        faults.append((at, f"is a list of values to match, or a nested pattern; write [{shown(inner)}]"))
    for step in reversed(path[1:]):
        matcher = _within(_all_of([(step, matcher)]))
    return first, matcher


def _absent_only(value: Any) -> bool:
    return value is None


def _within(inside: _Items) -> _Matcher:
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


def _compile_leaf(alternatives: Sequence[Any], at: Place, faults: Faults) -> _Matcher:
    if not alternatives:
        faults.append((at, "the list of values is empty: nothing could match"))
    absent = False
    present = False
    tests: list[ValueTest] = []
    for position, alternative in enumerate(alternatives):
        here = (*at, position)
        if isinstance(alternative, Mapping) and "exists" in alternative:
            has_one_key(alternative, here, faults)
            if not isinstance(alternative["exists"], bool):
                faults.append(((*here, "exists"), "is true or false"))
            present = present or alternative["exists"] is True
            absent = absent or alternative["exists"] is False
        else:
            tests.append(compile_test(alternative, here, faults))

    def matches(value: Any) -> bool:
        if value is None:
            return absent
        return present or _any_member(value, tests)

    return matches


def _any_member(value: Any, tests: Sequence[ValueTest]) -> bool:
    tag, content = _split(value)
    if tag in ("SS", "NS"):
        return isinstance(content, list | set | frozenset) and any(
            test(tag[0], member) for member in content for test in tests
        )
    if tag == "L":
        return isinstance(content, list) and any(_any_member(member, tests) for member in content)
    return tag != "M" and any(test(tag, content) for test in tests)  # a map has no value of its own, but to `exists`


def _split(value: Any) -> tuple[str, Any]:
    """Tag and content; an empty tag if it is no attribute value. `{}` is an empty map or list that lost its tag."""
    if isinstance(value, dict):
        if len(value) == 1:
            for tag, content in value.items():  # the only one
                return tag, content
        if not value:
            return "M", value
    return "", None
