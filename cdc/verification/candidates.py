"""Candidates: documents that are not equal at the first sight, with the keys of the items that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import orjson

from cdc.loads.deployment import Deployment
from cdc.mappings.writes import Put
from cdc.records.attributes import RawItem
from cdc.verification.expected import Expectations
from cdc.verification.keys import KeysOfDocuments
from cdc.verification.looks import Candidate
from cdc.verification.patience import ReadUnits, patiently
from cdc.verification.spool import Entry, Pair, place_of

__all__ = ["Candidates"]

_AT_ONCE = 100


@dataclass
class Candidates:
    """Makes candidates of pairs. Documents whose keys neither id nor fields tell are held back: `unresolved`."""

    deployment: Deployment
    expectations: Expectations
    keys: KeysOfDocuments
    units: ReadUnits
    unresolved: dict[bytes, Candidate] = field(default_factory=dict)

    def of(self, pairs: Sequence[Pair]) -> list[Candidate]:
        """The candidates whose keys are known."""
        found: list[Candidate] = []
        unknown: list[Candidate] = []
        for pair in pairs:
            if pair.ours is not None:
                found.append(self._of_item(pair.ours, pair.theirs))
                continue
            candidate = self._of_document(pair.theirs) if pair.theirs is not None else None
            if candidate is not None:
                (unknown if candidate.keys is None else found).append(candidate)
        return found + self._by_fields(unknown)

    def of_documents(self, index: str, documents: Sequence[tuple[str, str | None, int]]) -> list[Candidate]:
        """The candidates of documents: their ids, routings and versions."""
        found = [
            Candidate(index, identifier, routing, self.keys.of_id(index, identifier), version)
            for identifier, routing, version in documents
        ]
        unknown = [candidate for candidate in found if candidate.keys is None]
        return [candidate for candidate in found if candidate.keys is not None] + self._by_fields(unknown)

    def of_item(self, item: RawItem) -> Iterator[Candidate]:
        """The candidates of the documents that an item makes, whether they are there or not."""
        for put, keys in self.expectations.puts(item):
            if isinstance(put, Put):
                yield Candidate(put.index, put.id, put.routing, keys)
            else:
                index, _, identifier = put.document.partition("/")
                yield Candidate(index, identifier, None, keys)

    def _of_item(self, ours: Entry, theirs: Entry | None) -> Candidate:
        identifier, routing, keys = orjson.loads(ours.about)
        version = None if theirs is None else theirs.version
        return Candidate(self.expectations.indices[ours.index], identifier, routing, keys, version)

    def _of_document(self, theirs: Entry) -> Candidate:
        identifier, routing = orjson.loads(theirs.about)
        index = self.expectations.indices[theirs.index]
        return Candidate(index, identifier, routing, self.keys.of_id(index, identifier), theirs.version)

    def _by_fields(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        found: list[Candidate] = []
        for start in range(0, len(candidates), _AT_ONCE):
            part = candidates[start : start + _AT_ONCE]
            for index in dict.fromkeys(candidate.index for candidate in part):
                found += self._of_index(index, [candidate for candidate in part if candidate.index == index])
        return found

    def _of_index(self, index: str, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
        wanted = [(candidate.id, candidate.routing) for candidate in candidates]
        documents = patiently(self.deployment, lambda: self.deployment.documents.get(index, wanted))
        for candidate, document in zip(candidates, documents, strict=True):
            if document is None:
                continue  # it is gone: nothing is left to differ
            keys = self.keys.of_source(index, candidate.id, document.source or b"")
            if keys is None:
                self.unresolved[place_of(index, candidate.id, candidate.routing)] = candidate
            else:
                yield Candidate(index, candidate.id, candidate.routing, keys, candidate.version)

    def rest(self) -> Iterator[Candidate]:
        """The candidates that were held back, once the whole table has been read again, consistently, for their sake.
        One without keys is of no item."""
        if not self.unresolved:
            return
        after: RawItem | None = None
        table = self.expectations.stream.table
        while True:
            page = self.units.page(partial(self.deployment.pages.page, table, 0, 1, after, consistent=True))
            for item in page.items:
                yield from self._found_in(item)
            if page.after is None:
                break
            after = page.after
        yield from self.unresolved.values()
        self.unresolved.clear()

    def _found_in(self, item: RawItem) -> Iterator[Candidate]:
        for put, keys in self.expectations.puts(item):
            if not isinstance(put, Put):
                continue
            candidate = self.unresolved.pop(place_of(put.index, put.id, put.routing), None)
            if candidate is not None:
                yield Candidate(candidate.index, candidate.id, candidate.routing, keys, candidate.version)
