"""Filters: what of a stream an event source mapping may leave out, because no document would be made of it.

Filters let through every record that the mappings make something of, and often more: what their language can't say
exactly is left out of them. The language: AWS Lambda Developer Guide, "Control which events Lambda sends to your
function" and "Using event filtering with a DynamoDB event source".

Two things of it are not used. `$or`: Amazon's own engine (`event-ruler`) takes records for no match that do match, when
its branches ask for one attribute; so alternatives are filters of their own. `equals-ignore-case`: which letters are
equal is not said. Of `wildcard`, which it lacks, stands the first literal text, or the last; of `cidr`, and of tests in
`anything-but`, nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc.mappings.model import DocumentRule, TableMapping, split_path
from cdc.mappings.value_tests import wildcard_parts

__all__ = ["MAX_FILTERS", "MAX_PATTERN_LETTERS", "Filters", "filters_of_kinesis", "filters_of_stream"]

MAX_FILTERS = 5
MAX_PATTERN_LETTERS = 4096
"""Lambda's limits for one event source mapping ("Lambda quotas" and AWS Lambda API Reference, "Filter")."""

_Pattern = dict[str, Any]
_ABSENT = {"exists": False}
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True, slots=True)
class Filters:
    """Patterns, of which a record has to match one. None: every record has to come, and `reason` says why."""

    patterns: tuple[_Pattern, ...] = ()
    reason: str = ""

    def texts(self) -> list[str]:
        """The patterns as JSON. No backslash stands before a quotation mark: `sam` would take it away."""
        return [_ESCAPED.sub(_by_number, json.dumps(pattern, separators=(",", ":"))) for pattern in self.patterns]

    def criteria(self) -> dict[str, Any]:
        """The `FilterCriteria` of an event source mapping."""
        return {"Filters": [{"Pattern": text} for text in self.texts()]}


def filters_of_stream(mapping: TableMapping, keys: Collection[str], *, archive: bool = True) -> Filters:
    """Filters for a DynamoDB stream of the mapping's table.

    `keys`: attributes that are the table's keys; if that is wrong, more is let through, never less. `archive`: is there
    an archive? It takes every change of a table that the mapping does not exempt.
    """
    if reason := _wants_all(mapping, archive=archive):
        return Filters(reason=reason)
    return _fitting(*(_of_mapping(mapping, keys, images=images) for images in (True, False)))


def filters_of_kinesis(mappings: Sequence[TableMapping], keys: Collection[str], *, archive: bool = True) -> Filters:
    """Filters for a Kinesis data stream of these tables. They let through also the records of tables that no mapping
    names, so that the function can report them."""
    named = [mapping for mapping in mappings if not mapping.is_glob]
    filtered = {mapping.table: mapping for mapping in named if not _wants_all(mapping, archive=archive)}
    if not filtered:
        reasons = [_wants_all(mapping, archive=archive) for mapping in named]
        return Filters(reason=next(iter(reasons), "no mapping names a table, and a glob may take any record's"))
    others = {"data": {"tableName": [{"anything-but": list(filtered)}]}}

    def patterns(*, images: bool) -> list[_Pattern]:
        return [others] + [
            {"data": {"tableName": [table], **pattern}}
            for table, mapping in filtered.items()
            for pattern in _of_mapping(mapping, keys, images=images)
        ]

    return _fitting(patterns(images=True), patterns(images=False))


def _fitting(exact: list[_Pattern], coarse: list[_Pattern]) -> Filters:
    for patterns in (exact, coarse):
        found = Filters(tuple(patterns))
        if (
            {} not in patterns
            and len(patterns) <= MAX_FILTERS
            and all(len(text) <= MAX_PATTERN_LETTERS for text in found.texts())
        ):
            return found
    return Filters(
        reason=f"the documents' conditions together don't fit: they would take {len(exact)} filters; "
        f"Lambda takes {MAX_FILTERS} of {MAX_PATTERN_LETTERS} letters each"
    )


def _wants_all(mapping: TableMapping, *, archive: bool) -> str:
    """Why every record of the table has to come; empty if not."""
    if archive and mapping.archived:
        return f"{mapping.source}: the archive keeps every change; `archive: false` would exempt the table"
    for position, document in enumerate(mapping.documents):
        if not all(_alternatives(document.where)):
            return f"{mapping.source}: documents[{position}]: its `where` has no condition that a filter can say"
    return ""


def _of_mapping(mapping: TableMapping, keys: Collection[str], *, images: bool) -> list[_Pattern]:
    """Patterns of records; without `images` by conditions on keys alone, which are fewer and let through more."""
    found: list[_Pattern] = []
    for where in _joined(mapping.documents, keys):
        for condition in _alternatives(where):
            of_keys = {name: tests for name, tests in condition.items() if name in keys}
            if of_keys == condition or not images:
                found.append({"dynamodb": {"Keys": of_keys}} if of_keys else {})
                continue
            # An item that leaves the document matches with its old image alone. An image that the stream's view leaves
            # out has no attributes, and so passes: the item is read from the table then, or the delete is sent anyway.
            found.append({"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": condition}})
            found.append({"eventName": ["MODIFY", "REMOVE"], "dynamodb": {"OldImage": condition}})
    return [{}] if {} in found else _once(found)


def _joined(documents: Sequence[DocumentRule], keys: Collection[str]) -> list[Mapping[str, Any]]:
    """The documents' `where`s; those that ask for one and the same key attribute only are one."""
    alone: dict[str, list[Any]] = {}
    others: list[Mapping[str, Any]] = []
    for document in documents:
        match list(document.where.items()):
            case [(name, list(tests))] if name in keys and name != "$or":
                alone.setdefault(name, []).extend(tests)
            case _:
                others.append(document.where)
    return [*({name: tests} for name, tests in alone.items()), *others]


def _alternatives(where: Mapping[str, Any]) -> list[_Pattern]:
    """Conditions on items in DynamoDB JSON, of which one has to hold; an empty one always does."""
    always = _conditions(where)
    branches = [found for branch in where.get("$or", ()) for found in _alternatives(branch)] or [{}]
    # of two conditions on one attribute only one can be said
    return _once([{**branch, **always} for branch in branches])


def _conditions(where: Mapping[str, Any]) -> _Pattern:
    conditions: _Pattern = {}
    for name, inner in where.items():
        if name == "$or":
            continue
        path = split_path(str(name))
        if any("." in step for step in path):  # it would be taken for a step into a map
            continue
        if isinstance(inner, Mapping):
            below = _conditions(inner)
            found: _Pattern = {"M": below} if below else {}
        else:
            tests = _tests(inner)
            found = {"S": tests} if tests else {}
        for step in reversed(path[1:]):
            found = {"M": {step: found}} if found else {}
        if found:
            _add(conditions, path[0], found)
    return conditions


def _add(conditions: _Pattern, name: str, found: _Pattern) -> None:
    """Join what is asked of a map with what is asked of it already; of two tests of one value one is said."""
    there = conditions.setdefault(name, found)
    if there is found or "M" not in there or "M" not in found:
        return
    for inner, asked in found["M"].items():
        _add(there["M"], inner, asked)


def _tests(alternatives: Sequence[Any]) -> list[Any]:
    """Tests of a text; empty if any text may match.

    What is no text is let through: a list or a set matches by its members, and the stream writes numbers as texts,
    which a filter can't compare by value.
    """
    tests: list[Any] = []
    excluded: list[set[str]] = []
    for alternative in alternatives:
        match alternative:
            case str():
                tests.append(alternative)
            case {"prefix": str(part)} | {"suffix": str(part)} if part:
                tests.append(alternative)
            case {"wildcard": str(text)} if found := _of_wildcard(text):
                tests.append(found)
            case {"anything-but": texts}:
                texts = [texts] if isinstance(texts, str) else texts
                if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                    return []
                excluded.append(set(texts))
            case {"exists": False} | {"numeric": _}:
                continue
            case Mapping():
                return []
    if excluded:
        by_all = sorted(set.intersection(*excluded))
        if not by_all:
            return []
        tests.append({"anything-but": by_all})
    return [*_once(tests), _ABSENT]


def _of_wildcard(text: str) -> Any:
    """The most of a wildcard that a filter can say: its first or its last literal text; None if it has neither."""
    parts = wildcard_parts(text) or ("",)
    if len(parts) == 1:
        return parts[0] or None
    return {"prefix": parts[0]} if parts[0] else {"suffix": parts[-1]} if parts[-1] else None


def _once(values: Sequence[Any]) -> list[Any]:
    return [value for position, value in enumerate(values) if value not in values[:position]]


def _by_number(escaped: re.Match[str]) -> str:
    return f"\\u{ord(escaped[1]):04x}"
