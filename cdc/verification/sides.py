"""Sides: a difference field by field, the item's side and the index's, with exact digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.verification.content import content_digest
from cdc.verification.wording import visible

__all__ = ["Cut", "Sides", "cut", "sides_of"]

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_DEEPEST = 8
"""A value that is nested deeper is compared as one: a page that nests so deep helps nobody."""


@dataclass(frozen=True, slots=True)
class Sides:
    """One field of both sides. Values are JSON, as it stands there; None where a side lacks the field."""

    path: str
    expected: str | None
    found: str | None
    differs: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A value around the place where it differs from the other side's."""

    before: str
    differing: str
    after: str


def sides_of(expected: str | None, found: str | None) -> Sequence[Sides]:
    """The fields of both sides, in the item's order, then those that the index alone has.

    Numbers are compared by value, and fields that were set aside stand in their place. What is no JSON object is one
    field without a name.
    """
    return tuple(_compared("", _raw(expected), _raw(found), 0))


def cut(value: str, other: str | None, most: int) -> Cut:
    """The value in three parts: alike, differing, alike; about `most` characters of it where it is longer."""
    if other is None:
        return Cut("", _middle_left_out(value, most), "")
    start = _alike(value, other)
    longest = min(len(value), len(other)) - start
    end = _alike(value[::-1], other[::-1], longest)
    before, differing, after = value[:start], value[start : len(value) - end], value[len(value) - end :]
    if len(value) <= most:
        return Cut(before, differing, after)
    part = most // 3
    short_before = before if len(before) <= part else f"… {len(before) - part:,} characters … {before[-part:]}"
    short_after = after if len(after) <= part else f"{after[:part]} … {len(after) - part:,} characters …"
    return Cut(short_before, _middle_left_out(differing, part), short_after)


def _middle_left_out(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"


def _alike(one: str, other: str, most: int | None = None) -> int:
    """How many characters both begin with."""
    length = min(len(one), len(other)) if most is None else most
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _raw(text: str | None) -> bytes | None:
    return None if text is None else text.strip().encode("utf-8", "backslashreplace")


def _compared(path: str, expected: bytes | None, found: bytes | None, depth: int) -> list[Sides]:
    ours, theirs = _parts(expected, depth), _parts(found, depth)
    if (ours is None and expected is not None) or (theirs is None and found is not None) or not (ours or theirs):
        if expected is None and found is None:
            return []
        return [Sides(path, _shown(expected), _shown(found), _differ(expected, found))]
    ours, theirs = ours or {}, theirs or {}
    sides: list[Sides] = []
    for name in dict.fromkeys([*ours, *theirs]):
        sides += _compared(_joined(path, name), ours.get(name), theirs.get(name), depth + 1)
    return sides


def _differ(expected: bytes | None, found: bytes | None) -> bool:
    if expected is None or found is None:
        return True
    return expected != found and content_digest(expected) != content_digest(found)


def _parts(value: bytes | None, depth: int) -> Mapping[str | int, bytes] | None:
    """The members of an object or a list; None of anything else."""
    if value is None or depth > _DEEPEST or value[:1] not in (b"{", b"["):
        return None
    try:
        if value[:1] == b"[":
            return {number: bytes(part).strip() for number, part in enumerate(_LIST.decode(value))}
        members = _OBJECT.decode(value)
        if depth == 0 and ASIDE_FIELD in members:
            aside = _OBJECT.decode(members[ASIDE_FIELD])
            members = {name: part for name, part in members.items() if name not in (ASIDE_FIELD, ASIDE_NAMES_FIELD)}
            members |= aside
        return {name: bytes(part).strip() for name, part in members.items()}
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _joined(path: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{visible(name)}" if path else visible(name)


def _shown(value: bytes | None) -> str | None:
    """The JSON, with letters of all scripts as such."""
    if value is None:
        return None
    text = value.decode("utf-8", "replace")
    if value[:1] == b'"' and "\\u" in text:
        try:
            text = msgspec.json.encode(_TEXT.decode(value)).decode()
        except (msgspec.MsgspecError, UnicodeError):
            return visible(text)
    return visible(text)
