"""Evidence: what a sample shows of each path of its items, without any value of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from cdc.records.attributes import RawItem, decode_number

__all__ = ["Evidence", "Path", "evidence_of", "is_keyed_by_ids"]

Path = tuple[str, ...]

_MOST_DISTINCT = 10_000
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?")
_ID = re.compile(
    r"[0-9]+|[0-9a-fA-F]{8,}|[0-9A-HJKMNP-TV-Z]{26}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\S+@\S+"
    r"|.*[0-9]{4,}.*|[A-Za-z]{1,12}[#:_-][0-9]+"
)
_KEYED_NAMES = 8
_KEYED_SHARE = 0.34
_MIN_EPOCH, _MAX_EPOCH = 946_684_800, 4_102_444_800
"""Seconds of the years 2000 to 2100."""


@dataclass
class Evidence:
    """All that the sample's values at one path show."""

    items: int = 0
    """Items that have it."""
    types: Counter[str] = field(default_factory=Counter)
    """How often each DynamoDB type was there; members of lists and sets count for themselves."""
    in_lists: bool = False
    longest: int = 0
    """The longest text's length in UTF-8, in bytes."""
    spaces: int = 0
    """Texts with spaces."""
    dates: int = 0
    """Texts that are dates or times of ISO 8601."""
    digits: int = 0
    """The most significant digits of a number."""
    whole: int = 0
    """Whole numbers."""
    seconds: int = 0
    """Whole numbers that are seconds since 1970 of the years 2000 to 2100."""
    milliseconds: int = 0
    """The same in milliseconds."""
    greatest: int = 0
    """The greatest whole number, without its sign."""
    children: Counter[str] = field(default_factory=Counter)
    """The names in maps, and how many maps have each."""
    _seen: set[bytes] = field(default_factory=set)
    _last_item: int = -1

    @property
    def values(self) -> int:
        """Values that are no maps and no lists."""
        return sum(count for tag, count in self.types.items() if tag not in ("M", "L"))

    @property
    def distinct(self) -> int | None:
        """How many different values there were; None: more than can be told."""
        return len(self._seen) if len(self._seen) < _MOST_DISTINCT else None

    def took(self, item: int) -> None:
        """It was there in an item of this number."""
        if item != self._last_item:
            self._last_item = item
            self.items += 1

    def scalar(self, tag: str, content: Any) -> None:
        """A value was there."""
        self.types[tag] += 1
        if len(self._seen) < _MOST_DISTINCT and tag != "NULL":
            self._seen.add(blake2b(f"{tag}{content}".encode("utf-8", "surrogatepass"), digest_size=8).digest())
        if tag == "S":
            self.longest = max(self.longest, len(content.encode("utf-8", "surrogatepass")))
            self.spaces += any(letter.isspace() for letter in content)
            self.dates += _is_date(content)
        elif tag == "N":
            self._number(content)

    def _number(self, content: str) -> None:
        number = decode_number(content)
        exact = Decimal(number)
        self.digits = max(self.digits, len(exact.normalize().as_tuple().digits) if exact else 1)
        if exact == exact.to_integral_value() and abs(exact) < 10**38:
            value = abs(int(exact))
            self.whole += 1
            self.greatest = max(self.greatest, value)
            self.seconds += _MIN_EPOCH <= value <= _MAX_EPOCH
            self.milliseconds += _MIN_EPOCH <= value // 1000 <= _MAX_EPOCH


def evidence_of(items: Iterable[RawItem]) -> Mapping[Path, Evidence]:
    """The evidence of each path; `()` is the item itself. Of a map that is keyed by ids nothing below it."""
    found: dict[Path, Evidence] = {}
    for number, item in enumerate(items):
        for path, tag, content, in_list in _walk((), {"M": item}):
            one = found.setdefault(path, Evidence())
            one.took(number)
            one.in_lists |= in_list
            if tag == "M":
                one.types["M"] += 1
                one.children.update(content.keys())
            elif tag == "L":
                one.types["L"] += 1
            else:
                one.scalar(tag, content)
    keyed = [path for path, one in found.items() if path and is_keyed_by_ids(one)]
    return {
        path: one
        for path, one in found.items()
        if not any(len(path) > len(above) and path[: len(above)] == above for above in keyed)
    }


def is_keyed_by_ids(evidence: Evidence) -> bool:
    """Are the names in these maps data, such as customers' ids, and no attributes?"""
    names, maps = evidence.children, evidence.types["M"]
    if not names:
        return False
    like_ids = sum(_ID.fullmatch(name) is not None for name in names)
    if like_ids * 2 > len(names) and like_ids >= min(2, maps):
        return True
    return len(names) >= _KEYED_NAMES and sum(names.values()) <= _KEYED_SHARE * maps * len(names)


def _walk(path: Path, value: Mapping[str, Any], *, in_list: bool = False) -> Iterator[tuple[Path, str, Any, bool]]:
    ((tag, content),) = value.items()
    if tag in ("SS", "NS", "BS"):
        for member in content:
            yield path, tag[0], member, True
        return
    yield path, tag, content, in_list
    if tag == "M":
        for name, below in content.items():
            yield from _walk((*path, name), below)
    elif tag == "L":
        for member in content:
            yield from _walk(path, member, in_list=True)


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return False
    return True
