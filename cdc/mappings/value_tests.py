"""Tests of single values: the leaves of an event pattern. A value of another type is no match, never an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from operator import eq, ge, gt, le, lt
from typing import Any

from cdc.errors import MalformedRecord
from cdc.records.attributes import decode_number

__all__ = ["TESTS", "Faults", "Place", "ValueTest", "compile_test", "has_one_key", "shown", "wildcard_parts"]

ValueTest = Callable[[str, Any], bool]
"""Tests the tag and content of one value that is no container."""
Place = tuple[str | int, ...]
Faults = list[tuple[Place, str]]
TESTS = "prefix, suffix, equals-ignore-case, wildcard, cidr, numeric, anything-but, exists"
_NOT_IN_ANYTHING_BUT = ("exists", "anything-but")
_IN_ANYTHING_BUT = "prefix, suffix, equals-ignore-case, wildcard, cidr, numeric"
_OF_TEXTS = ("prefix", "suffix", "equals-ignore-case", "wildcard", "cidr")
_IGNORE_CASE = "equals-ignore-case"
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_ESCAPE_OR_STAR = re.compile(r"\\(.?)|(\*+)", re.DOTALL)
_Text = Callable[[str], bool]


def compile_test(test: Any, at: Place, faults: Faults) -> ValueTest:
    """The test that stands at `at` of a pattern; what is wrong with it is added to `faults`."""
    if not isinstance(test, Mapping):
        return _exact(test, at, faults)
    if not has_one_key(test, at, faults):
        return _never
    ((kind, argument),) = test.items()
    if kind in _OF_TEXTS:
        return _of_text(_text_test(kind, argument, (*at, kind), faults))
    if kind == "anything-but":
        return _anything_but(argument, (*at, kind), faults)
    if kind == "numeric":
        return _numeric(argument, (*at, kind), faults)
    faults.append((at, f"unknown test {kind!r}; there are {TESTS}"))
    return _never


def has_one_key(test: Mapping[str, Any], at: Place, faults: Faults) -> bool:
    """Is it one test? Several are a fault."""
    if len(test) == 1:
        return True
    faults.append((at, "one test at a time; give each a place of its own in the list"))
    return False


def shown(value: Any) -> str:
    """A value as it stands in YAML."""
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else "null"
    return repr(value) if isinstance(value, str) else str(value)


def wildcard_parts(text: str) -> tuple[str, ...] | None:
    """The literal texts between the `*` of a wildcard; None if it is none that EventBridge takes."""
    parts = [""]
    end = 0
    for found in _ESCAPE_OR_STAR.finditer(text):
        parts[-1] += text[end : found.start()]
        end = found.end()
        if found[2] is None:
            if found[1] not in ("*", "\\"):
                return None
            parts[-1] += found[1]
        elif found[2] == "*":
            parts.append("")
        else:
            return None
    parts[-1] += text[end:]
    return tuple(parts)


def _never(tag: str, content: Any) -> bool:
    return False


def _no_text(text: str) -> bool:
    return False


def _of_text(fits: _Text) -> ValueTest:
    return lambda tag, content: tag == "S" and isinstance(content, str) and fits(content)


def _text_test(kind: str, argument: Any, at: Place, faults: Faults) -> _Text:
    if kind in ("prefix", "suffix") and isinstance(argument, Mapping):
        return _affix_ignoring_case(kind, argument, at, faults)
    if not isinstance(argument, str):
        hint = f"; write a test for each: [{{{kind}: …}}, {{{kind}: …}}]" if isinstance(argument, list) else ""
        faults.append((at, f"is a text, not {shown(argument)}{hint}"))
        return _no_text
    if kind == "prefix":
        return lambda text: text.startswith(argument)
    if kind == "suffix":
        return lambda text: text.endswith(argument)
    if kind == "wildcard":
        return _wildcard(argument, at, faults)
    if kind == "cidr":
        return _cidr(argument, at, faults)
    folded = argument.casefold()
    return lambda text: text.casefold() == folded


def _affix_ignoring_case(kind: str, argument: Mapping[Any, Any], at: Place, faults: Faults) -> _Text:
    wanted = argument.get(_IGNORE_CASE)
    if len(argument) != 1 or not isinstance(wanted, str):
        faults.append((at, f"is a text, or {{{_IGNORE_CASE}: text}}"))
        return _no_text
    folded = wanted.casefold()
    if kind == "prefix":
        return lambda text: text.casefold().startswith(folded)
    return lambda text: text.casefold().endswith(folded)


def _wildcard(pattern: str, at: Place, faults: Faults) -> _Text:
    parts = wildcard_parts(pattern)
    if parts is None:
        faults.append(
            (at, f"{pattern!r} is no wildcard: one * at a time, and \\* and \\\\ for a * and a \\ themselves")
        )
        return _no_text
    first, last, between = parts[0], parts[-1], parts[1:-1]
    if len(parts) == 1:
        return lambda text: text == first

    def fits(text: str) -> bool:
        """Every part is found at its first place: of what is left over, most is left so."""
        if not text.startswith(first):
            return False
        position = len(first)
        for part in between:
            found = text.find(part, position)
            if found < 0:
                return False
            position = found + len(part)
        return len(text) - len(last) >= position and text.endswith(last)

    return fits


def _cidr(argument: str, at: Place, faults: Faults) -> _Text:
    from ipaddress import ip_address, ip_network

    try:
        network = ip_network(argument, strict=False)
    except ValueError:
        faults.append((at, f"{argument!r} is no range of addresses, such as 10.0.0.0/24 or 2001:db8::/32"))
        return _no_text

    def fits(text: str) -> bool:
        try:
            return ip_address(text) in network
        except ValueError:
            return False

    return fits


def _exact(wanted: Any, at: Place, faults: Faults) -> ValueTest:
    match wanted:
        case None:
            return lambda tag, content: tag == "NULL" and content is True
        case bool():
            return lambda tag, content: tag == "BOOL" and content is wanted
        case str():
            return lambda tag, content: tag == "S" and content == wanted
        case int() | float() | Decimal():
            return _compare("=", _number(wanted, at, faults))
    faults.append((at, f"is a text, a number, true, false, null, or a test ({TESTS})"))
    return _never


def _anything_but(argument: Any, at: Place, faults: Faults) -> ValueTest:
    excluded: list[ValueTest] = []
    if isinstance(argument, list):
        if not argument:
            faults.append((at, "the list is empty"))
        for position, value in enumerate(argument):
            excluded += _excluded(value, (*at, position), faults)
    else:
        excluded = _excluded(argument, at, faults)
    return lambda tag, content: not any(test(tag, content) for test in excluded)


def _excluded(argument: Any, at: Place, faults: Faults) -> list[ValueTest]:
    """The tests that `anything-but` denies: a value, or a test, in which a list of texts may stand."""
    if not isinstance(argument, Mapping) or len(argument) != 1:
        return [compile_test(argument, at, faults)]
    ((kind, wanted),) = argument.items()
    if kind not in _OF_TEXTS and kind != "numeric":
        unknown = f"{kind} can't stand in anything-but" if kind in _NOT_IN_ANYTHING_BUT else f"unknown test {kind!r}"
        faults.append((at, f"{unknown}; there are {_IN_ANYTHING_BUT}"))
        return []
    here = (*at, kind)
    if kind == "numeric":
        return [_numeric(wanted, here, faults)]
    texts: list[Any] = wanted if isinstance(wanted, list) else [wanted]
    if isinstance(wanted, Mapping) and isinstance(wanted.get(_IGNORE_CASE), list) and len(wanted) == 1:
        texts = [{_IGNORE_CASE: text} for text in wanted[_IGNORE_CASE]]
    if not texts:
        faults.append((here, "the list is empty"))
    if kind in ("prefix", "suffix") and any(text in ("", {_IGNORE_CASE: ""}) for text in texts):
        faults.append((here, f"is empty, and every text has an empty {kind}: nothing could match"))
    places = [(*here, position) if isinstance(wanted, list) else here for position in range(len(texts))]
    return [_of_text(_text_test(kind, text, place, faults)) for text, place in zip(texts, places, strict=True)]


def _numeric(argument: Any, at: Place, faults: Faults) -> ValueTest:
    if not isinstance(argument, list) or not argument or len(argument) % 2:
        faults.append((at, "is a list of comparisons and numbers, such as ['>', 0, '<=', 100]"))
        return _never
    tests: list[ValueTest] = []
    for position in range(0, len(argument), 2):
        comparison, bound = argument[position], _number(argument[position + 1], (*at, position + 1), faults)
        if isinstance(comparison, str) and comparison in _COMPARISONS:
            tests.append(_compare(comparison, bound))
        else:
            faults.append(
                ((*at, position), f"unknown comparison {shown(comparison)}; there are {' '.join(_COMPARISONS)}")
            )
    return lambda tag, content: all(test(tag, content) for test in tests)


def _compare(comparison: str, bound: Decimal) -> ValueTest:
    compare = _COMPARISONS[comparison]

    def test(tag: str, content: Any) -> bool:
        if tag != "N":
            return False
        try:
            return compare(decode_number(content), bound)
        except MalformedRecord:
            return False

    return test


def _number(value: Any, at: Place, faults: Faults) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        faults.append((at, f"{shown(value)} is no number" + ("; write it without quotes" if _reads(value) else "")))
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
