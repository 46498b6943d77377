"""Faults of settings in our own words: what a variable's text should have been."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from cdc.duration import DURATION

__all__ = ["fault_of"]

_PATTERNS = {
    DURATION: "is no duration, such as 90s, 15m, 18h or 2d",
    "^[1-9][0-9]*[mg]$": "is no size of memory, such as 512m or 2g",
    r"^[A-Za-z0-9._/#:-]{1,255}$": "has a character other than letters, digits and . _ / # : -",
}


def fault_of(kind: Any) -> str:
    """Say what is wrong with a text that is not of this type: `is none of local, production`."""
    return _fault(inspect.type_info(kind))


def _fault(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _fault(kind.type)
        case inspect.UnionType():
            return next(_fault(one) for one in kind.types if not isinstance(one, inspect.NoneType))
        case inspect.LiteralType():
            return f"is none of {', '.join(map(str, kind.values))}"
        case inspect.BoolType():
            return "is neither true nor false"
        case inspect.IntType():
            return f"is no whole number{_bounds(kind)}"
        case inspect.FloatType():
            return f"is no number{_bounds(kind)}"
        case inspect.StrType():
            return _PATTERNS.get(kind.pattern or "", "is not written as it should be")
    return "is not what it should be"


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low, high = kind.ge, kind.le
    if kind.gt is not None:
        return f" greater than {kind.gt}" + (f" and at most {high}" if high is not None else "")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    return f" of {low} or more" if low is not None else ""
