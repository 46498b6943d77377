"""Hits: those that a search finds in two indices, compared by ids and ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec

__all__ = ["FoundHits", "Hit", "MovedHit", "RankedHit", "SearchCompared", "compared", "headline_of", "without_ids"]


@dataclass(frozen=True, slots=True)
class Hit:
    """A hit: its id, and the score or sort values that it has its rank by."""

    id: str
    place: Any


@dataclass(frozen=True, slots=True)
class FoundHits:
    """The answer of an index to a search."""

    hits: Sequence[Hit] = ()
    """In OpenSearch's order; more than are compared, so that equal ones at the last rank are known."""
    total: int = 0
    took: int = 0
    """Milliseconds."""
    aggregations: Any = None
    error: str = ""
    """Why it failed; empty: it did not."""


class RankedHit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hit that one side alone has. Ranks begin at 1."""

    rank: int
    id: str = ""


class MovedHit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hit of both sides that has passed others of both sides, or was passed by them."""

    before: int
    after: int
    id: str = ""


class SearchCompared(msgspec.Struct, frozen=True):
    """One search on two indices. It shows ids, which are made of items' keys, and no contents."""

    name: str
    shown: int
    """So many hits were compared at most."""
    before: int
    """Hits in all."""
    after: int
    gained: tuple[RankedHit, ...] = ()
    lost: tuple[RankedHit, ...] = ()
    moved: tuple[MovedHit, ...] = ()
    ids_differ: bool = False
    """The hits have other ids in the other index: they can't be compared one by one."""
    other_aggregations: bool = False
    failed_before: str = ""
    failed_after: str = ""
    took_before: int = 0
    """Milliseconds."""
    took_after: int = 0

    @property
    def differs(self) -> bool:
        """Does the search find something else, or does it fail?"""
        failed = self.failed_before or self.failed_after
        hits = self.gained or self.lost or self.moved or self.ids_differ
        return bool(failed or hits or self.before != self.after or self.other_aggregations)

    @property
    def verdict(self) -> str:
        """One line for people, without ids."""
        for side, failed in (("before", self.failed_before), ("after", self.failed_after)):
            if failed and not (self.failed_before and self.failed_after):
                return f"fails {side}: {failed}"
        if self.failed_after:
            return f"fails on both: {self.failed_after}"
        told = [f"{self.after - self.before:+,} hits in all"] if self.before != self.after else []
        if self.ids_differ:
            told.append("ids changed: hits can't be compared by id")
        counts = {"gained": self.gained, "lost": self.lost, "moved": self.moved}
        told += [f"{len(hits):,} {name}" for name, hits in counts.items() if hits]
        if self.other_aggregations:
            told.append("other aggregations")
        return ", ".join(told) or "the same"


def compared(name: str, before: FoundHits, after: FoundHits, shown: int, *, by_id: bool = False) -> SearchCompared:
    """Compare what a search has found, in the first `shown` hits.

    Where both sides have hits, and not one id in common, they are not compared one by one, unless `by_id` says that
    documents have the same ids on both sides.
    """
    facts: dict[str, Any] = {
        "name": name,
        "shown": shown,
        "before": before.total,
        "after": after.total,
        "took_before": before.took,
        "took_after": after.took,
        "failed_before": before.error,
        "failed_after": after.error,
    }
    if before.error or after.error:
        return SearchCompared(**facts)
    facts["other_aggregations"] = before.aggregations != after.aggregations
    one, other = _Ranking.of(before, shown), _Ranking.of(after, shown)
    if not by_id and one.ranks and other.ranks and not one.known & other.known:
        return SearchCompared(**facts, ids_differ=True)
    return SearchCompared(
        **facts,
        gained=tuple(_only(other, one)),
        lost=tuple(_only(one, other)),
        moved=tuple(_moved(one, other)),
    )


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The first hits, equal ones by their ids."""

    ranks: dict[str, int]
    ties: dict[str, int]
    """The number of the group of equal hits that a hit is in."""
    known: frozenset[str]
    """All ids that were found, beyond the last rank that counts too."""
    last: frozenset[str]
    """Hits of the group of equal ones that goes on beyond the last rank: any of them may be shown, or not."""
    is_endless: bool
    """Does that group go on beyond all that was asked for?"""

    @classmethod
    def of(cls, found: FoundHits, shown: int) -> _Ranking:
        groups = [sorted(hit.id for hit in group) for _, group in groupby(found.hits, key=lambda hit: hit.place)]
        order = [(identifier, number) for number, group in enumerate(groups) for identifier in group]
        first = order[:shown]
        at = first[-1][1] if first else -1
        is_endless = at == len(groups) - 1 and found.total > len(order)
        goes_on = is_endless or (shown < len(order) and order[shown][1] == at)
        return cls(
            ranks={identifier: rank for rank, (identifier, _) in enumerate(first, 1)},
            ties=dict(first),
            known=frozenset(identifier for identifier, _ in order),
            last=frozenset(groups[at]) if goes_on and first else frozenset(),
            is_endless=is_endless,
        )


def _only(side: _Ranking, other: _Ranking) -> Iterator[RankedHit]:
    """The hits that the one side has among its first and the other has not, beyond what equal hits explain."""
    for identifier, rank in side.ranks.items():
        if identifier in other.ranks or identifier in other.last:
            continue
        explained = identifier in side.last if identifier in other.known else other.is_endless
        if not explained:
            yield RankedHit(rank, identifier)


def _moved(before: _Ranking, after: _Ranking) -> Iterator[MovedHit]:
    """The hits whose rank among those of both sides is another, beyond what equal hits explain."""
    common = before.ranks.keys() & after.ranks.keys()
    one, other = _spans(before, common), _spans(after, common)
    for identifier in sorted(common, key=before.ranks.__getitem__):
        (first, last), (new_first, new_last) = one[identifier], other[identifier]
        if last < new_first or new_last < first:
            yield MovedHit(before.ranks[identifier], after.ranks[identifier], identifier)


def _spans(side: _Ranking, common: set[str]) -> dict[str, tuple[int, int]]:
    """The lowest and the highest rank that each hit may have among the common ones: equal ones stand in any order."""
    spans: dict[str, tuple[int, int]] = {}
    ordered = [identifier for identifier in side.ranks if identifier in common]
    start = 0
    for _, group in groupby(ordered, key=side.ties.__getitem__):
        members = list(group)
        spans |= dict.fromkeys(members, (start, start + len(members) - 1))
        start += len(members)
    return spans


def without_ids(found: SearchCompared) -> SearchCompared:
    """The same with ranks only."""
    return msgspec.structs.replace(
        found,
        gained=tuple(RankedHit(hit.rank) for hit in found.gained),
        lost=tuple(RankedHit(hit.rank) for hit in found.lost),
        moved=tuple(MovedHit(hit.before, hit.after) for hit in found.moved),
    )


def headline_of(found: Sequence[SearchCompared]) -> str:
    """The result in one line."""
    differing = sum(one.differs for one in found)
    noun = "search" if len(found) == 1 else "searches"
    if found and all(one.ids_differ for one in found):
        return f"ids changed: the hits of {len(found):,} {noun} can't be compared by id"
    if not differing:
        return f"{len(found):,} {noun}: the same hits"
    return f"{differing:,} of {len(found):,} {noun} {'differs' if differing == 1 else 'differ'}"
