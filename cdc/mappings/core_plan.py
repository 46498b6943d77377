"""A compiled mapping as the core takes it: nested tuples, in which a pattern that the core can't test is None.

A pattern: its conditions, each a name and what its value has to be, and its alternatives. What a value has to be: such
a pattern of its members, or whether it may be absent, whether it only has to be there, and the tests of which one has
to pass. A test: its kind and its argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cdc.mappings.model import RESERVED_FIELDS, TABLE, TOMBSTONE_FIELD, split_path
from cdc.mappings.pattern import part_of
from cdc.mappings.value_tests import wildcard_parts
from cdc.mappings.writes import Delete, Put

if TYPE_CHECKING:
    from cdc._core import Plan
    from cdc.mappings.compiled import CompiledMapping, Owner

__all__ = ["core_plan"]


_LONGEST_NUMBER = 40
"""Characters; DynamoDB's numbers have 38 digits."""
_LARGEST_POWER = 200
"""A power of ten; DynamoDB's go to 125."""


class _Left(Exception):
    """The core has no such test: the pattern is the reference's."""


def core_plan(compiled: CompiledMapping) -> Plan:
    """The plan of a mapping."""
    from cdc._core import Plan
    from cdc.mappings.compiled import NO_FIELDS

    keys = compiled.keys
    indices = [(index, [_OwnerSpec(owner, keys) for owner in owners]) for index, owners in compiled.by_index]
    names = (sorted(NO_FIELDS), sorted(RESERVED_FIELDS), TOMBSTONE_FIELD)
    return Plan(compiled.table, list(keys), indices, Put, Delete, names)


class _OwnerSpec:
    """A document of the mapping."""

    def __init__(self, owner: Owner, keys: Sequence[str]) -> None:
        document = owner.document
        of_keys = document.where if owner.pattern.attributes <= set(keys) else part_of(document.where, keys)
        self.pattern = _pattern_or_none(document.where)
        self.of_keys = _pattern_or_none(of_keys)
        self.id = [None if name == TABLE else name for name in document.id]
        self.routing = document.routing
        self.include = owner.include
        self.exclude = owner.exclude
        self.rename = owner.rename
        self.unless_only = owner.unless_only
        self.on_remove = document.on_remove
        self.on_expiry = document.on_expiry
        self.has_transform = owner.transform is not None
        self.sets_aside = owner.sets_aside


def _pattern_or_none(where: Mapping[str, Any]) -> Any:
    try:
        return _pattern(where)
    except _Left:
        return None


def _pattern(where: Mapping[str, Any]) -> Any:
    conditions = [_condition(split_path(name), inner) for name, inner in where.items() if name != "$or"]
    return conditions, [_pattern(branch) for branch in where.get("$or", ())]


def _condition(path: Sequence[str], inner: Any) -> Any:
    matcher = _leaf(inner) if isinstance(inner, list) else _pattern(inner)
    for step in reversed(path[1:]):
        matcher = [(step, matcher)], []
    return path[0], matcher


def _leaf(alternatives: Sequence[Any]) -> Any:
    exists = [one["exists"] for one in alternatives if isinstance(one, Mapping) and "exists" in one]
    tests = [one for one in alternatives if not (isinstance(one, Mapping) and "exists" in one)]
    return False in exists, True in exists, [_test(one) for one in tests]


def _test(test: Any) -> Any:
    if not isinstance(test, Mapping):
        return _exact(test)
    ((kind, argument),) = test.items()
    if kind in ("prefix", "suffix") and isinstance(argument, str):
        return kind, argument
    if kind == "wildcard":
        return kind, list(wildcard_parts(argument) or ())
    if kind == "numeric":
        bounds = zip(argument[::2], argument[1::2], strict=True)
        return kind, [(comparison, _digits(bound)) for comparison, bound in bounds]
    if kind == "anything-but":
        return kind, _excluded(argument)
    raise _Left


def _exact(wanted: Any) -> Any:
    match wanted:
        case None:
            return "null", None
        case bool():
            return "bool", wanted
        case str():
            return "text", wanted
    return "numeric", [("=", _digits(wanted))]


def _excluded(argument: Any) -> list[Any]:
    """The tests that `anything-but` denies: a value, values, or one test of one text or of several."""
    if isinstance(argument, list):
        return [test for one in argument for test in _excluded(one)]
    if not isinstance(argument, Mapping):
        return [_exact(argument)]
    ((kind, wanted),) = argument.items()
    if kind == "numeric":
        return [_test(argument)]
    return [_test({kind: text}) for text in (wanted if isinstance(wanted, list) else [wanted])]


def _digits(number: Any) -> str:
    exact = Decimal(str(number))
    text = str(exact)
    if len(text) > _LONGEST_NUMBER or abs(exact.adjusted()) > _LARGEST_POWER:
        raise _Left
    return text
