"""Kinds: the sorts of items of a single-table design, told apart by how their keys begin."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc.records.attributes import RawItem

__all__ = ["Kind", "Kinds", "kinds_of"]

Where = Mapping[str, Any]

_BEGINNING = re.compile(r"([A-Za-z][A-Za-z0-9_.\-]{0,40}[#:|/~])")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_\-]{1,30}")
"""The whole key of an item that its partition has one of, such as PROFILE or METADATA."""
_MOST = 40
_LEAST_SHARE = 0.005
_COVERED = 0.8
"""So much of a sample must have keys that begin with a word, and a mark behind it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of items."""

    name: str
    """In small letters, for the name of its index; empty where there is one kind alone."""
    where: Where
    """The event pattern that takes its items, and those of no other kind."""
    described: str
    """How its keys begin, for people."""


@dataclass(frozen=True)
class Kinds:
    """The kinds of a table, disjoint, and together all of its items."""

    keys: Sequence[str]
    sort_key: str
    kinds: Sequence[Kind]
    places: Mapping[tuple[str, ...], Kind]
    """Each kind by the beginnings of its keys."""

    def of(self, item: RawItem) -> Kind:
        """The kind of an item."""
        return self.places.get(_place(item, self.keys, self.sort_key), self.kinds[-1])


def kinds_of(items: Iterable[RawItem], keys: Sequence[str]) -> Kinds:
    """The kinds of these items: by the sort key if that tells them apart, else by the partition key, or by both.

    Args:
        keys: the table's key attributes, the partition key first.
    """
    sample, sort_key = list(items), keys[-1] if len(keys) > 1 else ""
    chosen = next((names for names in _choices(keys) if _tells(sample, names, sort_key)), ())
    if not chosen:
        whole = Kind("", {}, "every item")
        return Kinds((), sort_key, (whole,), {})
    counts = Counter(_place(item, chosen, sort_key) for item in sample)
    least = max(1, int(len(sample) * _LEAST_SHARE))
    found = [place for place, count in counts.most_common(_MOST) if all(place) and count >= least]
    places = {place: _kind(chosen, place) for place in sorted(found)}
    named = _named_apart(list(places.values()))
    kinds = dict(zip(places, named, strict=True))
    rest = Kind("other", _rest(chosen, list(places)), "keys that begin otherwise")
    return Kinds(chosen, sort_key, (*named, rest), kinds)


def _choices(keys: Sequence[str]) -> Sequence[tuple[str, ...]]:
    """Which keys may tell kinds apart, the best first."""
    if len(keys) == 1:
        return [(keys[0],)]
    partition, sort = keys
    return [(partition, sort), (sort,), (partition,)]


def _tells(sample: Sequence[RawItem], names: Sequence[str], sort_key: str) -> bool:
    """Do the beginnings of these keys make several kinds, and as few as that takes?"""
    counts = Counter(_place(item, names, sort_key) for item in sample)
    known = {place: count for place, count in counts.items() if all(place)}
    if not 2 <= len(known) <= _MOST or sum(known.values()) < _COVERED * len(sample):
        return False
    if len(names) == 1:
        return True
    # both are needed only where neither tells more alone: the same sort key below two partition keys is two kinds
    below: dict[str, set[str]] = defaultdict(set)
    above: dict[str, set[str]] = defaultdict(set)
    for first, second in known:
        below[first].add(second)
        above[second].add(first)
    return any(len(firsts) > 1 for firsts in above.values()) and any(len(seconds) > 1 for seconds in below.values())


def _place(item: RawItem, keys: Sequence[str], sort_key: str) -> tuple[str, ...]:
    """The beginnings of the keys; empty where they tell nothing. A whole word stands for a kind as a sort key alone: as
    a partition key it is a value, such as a country."""
    return tuple(_token(item, key, may_be_whole=key == sort_key) for key in keys)


def _token(item: RawItem, key: str, *, may_be_whole: bool) -> str:
    value: Any = item.get(key, {}).get("S")
    if not isinstance(value, str):
        return ""
    found = _BEGINNING.match(value)
    if found:
        return found[1]
    return value if may_be_whole and _CONSTANT.fullmatch(value) else ""


def _kind(keys: Sequence[str], tokens: Sequence[str]) -> Kind:
    tests = {_step(key): [_test(token)] for key, token in zip(keys, tokens, strict=True)}
    described = " and ".join(
        f"{key} {'begins with' if _is_beginning(token) else 'is'} {token}"
        for key, token in zip(keys, tokens, strict=True)
    )
    return Kind("-".join(dict.fromkeys(_slug(token) for token in tokens)), tests, described)


def _rest(keys: Sequence[str], places: Sequence[tuple[str, ...]]) -> Where:
    """The pattern of all that no kind takes."""
    if len(keys) == 1:
        return {_step(keys[0]): [_none_of(place[0] for place in places)]}
    below: dict[str, list[str]] = defaultdict(list)
    for first, second in places:
        below[first].append(second)
    partition, sort = map(_step, keys)
    others = [{partition: [_test(first)], sort: [_none_of(seconds)]} for first, seconds in below.items()]
    return {"$or": [{partition: [_none_of(below)]}, *others]}


def _test(token: str) -> Any:
    return {"prefix": token} if _is_beginning(token) else token


def _none_of(tokens: Iterable[str]) -> Any:
    return {"anything-but": {"wildcard": [f"{token}*" if _is_beginning(token) else token for token in tokens]}}


def _is_beginning(token: str) -> bool:
    return not token[-1].isalnum() and _CONSTANT.fullmatch(token) is None


def _step(key: str) -> str:
    """A key's name as a pattern has it, where a dot is a step into a map."""
    return key.replace(".", "\\.")


def _slug(token: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", token.lower()).strip("-") or "kind"


def _named_apart(kinds: Sequence[Kind]) -> Sequence[Kind]:
    """Kinds whose names differ: those of the rest are taken too."""
    taken, found = {"other"}, []
    for kind in kinds:
        name, number = kind.name, 2
        while name in taken:
            name, number = f"{kind.name}-{number}", number + 1
        taken.add(name)
        found.append(Kind(name, kind.where, kind.described))
    return found
