"""Looks: a difference is a candidate until it was seen twice, the second time later than consumers lag behind.

Every look reads the items consistently and the documents in real time. Of a candidate whose item or document changed
between two looks nothing is said: the next round looks again, and after three it is unsettled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import msgspec
import orjson

from cdc.deadline import Deadline
from cdc.errors import MalformedRecord
from cdc.loads.deployment import Deployment
from cdc.records.attributes import RawItem, decode_item, encode_item
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.verification.expected import keys_json
from cdc.verification.findings import Difference
from cdc.verification.judgement import Judge, Judgement
from cdc.verification.patience import ReadUnits, patiently

__all__ = ["Candidate", "Looks", "Seen"]

ROUNDS = 3
_AT_ONCE = 100
_READ_SECONDS = 60.0
_BYTES_OF_A_UNIT = 4096
"""Amazon DynamoDB Developer Guide, "Read and write operations": a consistent read of up to 4 KB is one unit."""


class Candidate(msgspec.Struct, frozen=True):
    """A document that may differ. `keys`: its item's; None where no item can be, or surely none is."""

    index: str
    id: str
    routing: str | None
    keys: RawItem | None
    version: int | None = None
    """The version at which it was found, if it was."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A candidate in the end: a difference, or none; unsettled if it changed at each look."""

    candidate: Candidate
    difference: Difference | None = None
    is_equal: bool = False
    """There is a document, and it is right."""
    set_aside: bool = False
    unsettled: bool = False
    hindrance: str = ""
    """Why no writing can mend the difference; empty where it can."""

    def without_contents(self) -> Seen:
        """The same, small enough to be held by the thousand."""
        if self.difference is None:
            return self
        slim = msgspec.structs.replace(self.difference, expected=None, found=None)
        return replace(self, difference=slim)


@dataclass(frozen=True, slots=True)
class _Look:
    """A candidate as one look saw it, without contents: thousands of them are held."""

    candidate: Candidate
    state: bytes
    """Stands for the item and the document."""
    seen: Seen
    """All that can be said by this look alone."""


@dataclass
class Looks:
    """Looks at candidates until they are settled."""

    deployment: Deployment
    table: str
    judge: Judge
    units: ReadUnits
    settle_seconds: float = 5.0

    def settled(self, candidates: Sequence[Candidate]) -> Iterator[Seen]:
        """Say of each candidate, once, whether it differs. Waits once a round for all of them together."""
        pending = list(candidates)
        for _ in range(ROUNDS):
            first: list[_Look] = []
            for part in _parts(pending):
                for look in self._look(part):
                    if look.seen.difference is None:
                        yield look.seen
                    else:
                        first.append(replace(look, seen=look.seen.without_contents()))
            if not first:
                return
            pending = []
            for before, after in self.again(first):
                if after.seen.difference is None or confirmed(before, after):
                    yield after.seen
                else:
                    pending.append(after.candidate)
            if not pending:
                return
        for candidate in pending:
            yield Seen(candidate, unsettled=True)

    def again(self, first: Sequence[_Look]) -> Iterator[tuple[_Look, _Look]]:
        """Each first look with the second, which is later than consumers lag behind."""
        self.deployment.sleep(self.settle_seconds)
        for index in dict.fromkeys(look.candidate.index for look in first):
            self.judge.sources.look(index)
        for start in range(0, len(first), _AT_ONCE):
            part = first[start : start + _AT_ONCE]
            yield from zip(part, self._look([look.candidate for look in part], documents_first=True), strict=True)

    def _look(self, candidates: Sequence[Candidate], *, documents_first: bool = False) -> list[_Look]:
        """Items first, then documents; the second time the other way round: both stood still in between."""
        documents = self._documents(candidates) if documents_first else []
        items = self._items(candidates)
        documents = documents or self._documents(candidates)
        looks = []
        for candidate, item, document in zip(candidates, items, documents, strict=True):
            judgement = self.judge.of(candidate.index, candidate.id, candidate.routing, candidate.keys, item, document)
            looks.append(_Look(candidate, _state(item, document), _seen(candidate, judgement, document)))
        return looks

    def _items(self, candidates: Sequence[Candidate]) -> list[RawItem | None]:
        wanted = [candidate.keys for candidate in candidates if candidate.keys is not None]
        if not wanted:
            return [None] * len(candidates)
        found: Sequence[RawItem | None] = self.units.reading(lambda: self._read(wanted), _units_of)
        read = iter(found)
        return [None if candidate.keys is None else next(read) for candidate in candidates]

    def _read(self, keys: Sequence[RawItem]) -> Sequence[RawItem | None]:
        deadline = Deadline.after(_READ_SECONDS, clock=self.deployment.clock)
        return self.deployment.items.read(self.table, keys, deadline)

    def _documents(self, candidates: Sequence[Candidate]) -> list[FoundDocument | None]:
        found: list[FoundDocument | None] = [None] * len(candidates)
        for index in dict.fromkeys(candidate.index for candidate in candidates):
            places = [place for place, candidate in enumerate(candidates) if candidate.index == index]
            wanted = [(candidates[place].id, candidates[place].routing) for place in places]
            answers = patiently(self.deployment, partial(self.deployment.documents.get, index, wanted))
            for place, document in zip(places, answers, strict=True):
                is_asked_for = document is not None and document.routing == candidates[place].routing
                found[place] = document if is_asked_for else None  # shards may know the id, of another routing
        return found


def _units_of(items: Sequence[RawItem | None]) -> float:
    return sum(1 + len(keys_json(item)) // _BYTES_OF_A_UNIT if item else 1 for item in items)


def confirmed(first: _Look, second: _Look) -> bool:
    """Has the same difference been seen twice, with the item and the document as they were?"""
    return first.state == second.state and second.seen.difference is not None


def _parts(candidates: Sequence[Candidate]) -> Iterator[Sequence[Candidate]]:
    for start in range(0, len(candidates), _AT_ONCE):
        yield candidates[start : start + _AT_ONCE]


def _seen(candidate: Candidate, judgement: Judgement, document: FoundDocument | None) -> Seen:
    if judgement.kind is None:
        return Seen(candidate, is_equal=judgement.is_equal, set_aside=judgement.set_aside)
    found = document.source.decode(errors="replace") if document and document.source else None
    difference = Difference(
        kind=judgement.kind,
        index=candidate.index,
        id=candidate.id,
        keys=None if candidate.keys is None else orjson.loads(keys_json(candidate.keys)),
        version=document.version if document else None,
        expected=judgement.expected.decode() if judgement.expected else None,
        found=found,
        reason=judgement.reason,
    )
    return Seen(candidate, difference, hindrance=judgement.hindrance)


def _state(item: RawItem | None, document: FoundDocument | None) -> bytes:
    digest = blake2b(digest_size=16)
    digest.update(b"" if item is None else _text(item))
    digest.update(b"\n")
    if document is not None:
        digest.update(f"{document.version}\n".encode() + (document.source or b""))
    return digest.digest()


def _text(item: RawItem) -> bytes:
    """One text for equal items, in whatever order their attributes and the members of their sets come."""
    with suppress(MalformedRecord, TypeError):  # then as it comes
        item = encode_item(decode_item(item))
    return orjson.dumps(orjson.loads(keys_json(item)), option=orjson.OPT_SORT_KEYS)
