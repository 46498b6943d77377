"""Queries of the simulated OpenSearch: the few that are needed to look at an index and to purge tombstones."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cdc.testing.simulated._refusals import refused

__all__ = ["Query", "compile_query", "field_values", "sort_value"]

Query = Callable[[str, Mapping[str, Any]], bool]
"""Does it find the document of this id and source?"""

_BOUNDS = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}


def compile_query(query: Mapping[str, Any] | None) -> Query:
    """The query as a function: match_all, ids, exists, term, terms, range and bool.

    Raises:
        RequestError: it is of another kind.
    """
    if not query:
        return _everything
    ((kind, about),) = query.items()
    match kind:
        case "match_all":
            return _everything
        case "ids":
            wanted = frozenset(about["values"])
            return lambda identifier, _source: identifier in wanted
        case "exists":
            return lambda _identifier, source: any(value is not None for value in field_values(source, about["field"]))
        case "term":
            ((field, value),) = about.items()
            return _one_of(field, [value["value"] if isinstance(value, Mapping) else value])
        case "terms":
            ((field, values),) = about.items()
            return _one_of(field, values)
        case "range":
            ((field, bounds),) = about.items()
            return _within(field, bounds)
        case "bool":
            return _bool(about)
    raise refused(400, "parsing_exception", f"unknown query [{kind}]")


def _everything(_identifier: str, _source: Mapping[str, Any]) -> bool:
    return True


def _one_of(field: str, values: Sequence[Any]) -> Query:
    if field == "_id":
        return lambda identifier, _source: identifier in values
    path = field.removesuffix(".keyword").removesuffix(".exact")
    return lambda _identifier, source: any(value in values for value in field_values(source, path))


def _within(field: str, bounds: Mapping[str, Any]) -> Query:
    tests = [(_BOUNDS[name], sort_value(bound)) for name, bound in bounds.items() if name in _BOUNDS]

    def found(_identifier: str, source: Mapping[str, Any]) -> bool:
        values = [sort_value(value) for value in field_values(source, field) if value is not None]
        return any(
            all(type(value) is type(bound) and compare(value, bound) for compare, bound in tests) for value in values
        )

    return found


def _bool(about: Mapping[str, Any]) -> Query:
    def compiled(name: str) -> list[Query]:
        clauses = about.get(name, ())
        return [compile_query(clause) for clause in (clauses if isinstance(clauses, list | tuple) else [clauses])]

    needed, excluded, optional = [*compiled("must"), *compiled("filter")], compiled("must_not"), compiled("should")

    def found(identifier: str, source: Mapping[str, Any]) -> bool:
        return (
            all(query(identifier, source) for query in needed)
            and not any(query(identifier, source) for query in excluded)
            and (bool(needed) or not optional or any(query(identifier, source) for query in optional))
        )

    return found


def field_values(source: Any, path: str) -> list[Any]:
    """The values at a dotted path, those of lists one by one."""
    values = [source]
    for name in path.split("."):
        values = [value[name] for value in _flat(values) if isinstance(value, Mapping) and name in value]
    return _flat(values)


def _flat(values: Sequence[Any]) -> list[Any]:
    return [inner for value in values for inner in (_flat(value) if isinstance(value, list) else [value])]


def sort_value(value: Any) -> Any:
    """The key that a value is compared and sorted by: a date as milliseconds since 1970, as OpenSearch has it."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    return value
