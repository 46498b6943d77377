"""Letters: which dead letter explains a difference. Their names tell it; none is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from cdc.dead_letters.redrive import INDEX_SINK
from cdc.dead_letters.store import DeadLetterStore
from cdc.loads.deployment import Deployment
from cdc.records.attributes import RawItem
from cdc.records.identity import keys_digest
from cdc.sinks.opensearch.documents import KnowsConcretes
from cdc.verification.patience import patiently

__all__ = ["KeptLetters"]


@dataclass
class KeptLetters:
    """The dead letters of a table's documents, listed when the first difference is explained."""

    deployment: Deployment
    table: str
    _names: Mapping[str, str] | None = field(default=None, repr=False)
    _concretes: dict[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def explaining(self, index: str, identifier: str, keys: RawItem | None) -> str:
        """The name of a letter of this document, or of all documents of its item; empty if there is none."""
        names = self._listed()
        if not names:
            return ""
        places = (index, *self._concretes_of(index))
        found = next((names[tail] for place in places if (tail := _tail(f"{place}/{identifier}")) in names), None)
        if found is None and keys is not None:
            found = names.get(f"{keys_digest(keys)}{_tail('')}")
        return found or ""

    def _concretes_of(self, index: str) -> Sequence[str]:
        """While an index is rebuilt letters name the concrete one."""
        documents = self.deployment.documents
        if not isinstance(documents, KnowsConcretes):
            return ()
        if index not in self._concretes:
            self._concretes[index] = patiently(self.deployment, lambda: documents.concretes(index))
        return self._concretes[index]

    def _listed(self) -> Mapping[str, str]:
        if self._names is None:
            keys = _lister(self.deployment.dead_letters)
            self._names = {} if keys is None else patiently(self.deployment, lambda: self._found(keys))
        return self._names

    def _found(self, keys: Callable[[str], Iterator[str]]) -> dict[str, str]:
        everything = _tail("")
        found = {}
        for name in keys(self.table):
            tail = name[-len(everything) :]
            digest = name[-len(everything) - _DIGEST : -len(everything)]
            found[f"{digest}{tail}" if tail == everything else tail] = name
        return found


_DIGEST = 32


def _tail(document: str) -> str:
    """The end of the name of a letter of this document; see `DeadLetter.name`."""
    where = sha256(f"{INDEX_SINK}\n{document}".encode()).hexdigest()[:12]
    return f"-{INDEX_SINK}-{where}.json"


def _lister(store: DeadLetterStore | None) -> Callable[[str], Iterator[str]] | None:
    """A store that letters can be found in again tells their names."""
    found: Callable[[str], Iterator[str]] | None = getattr(store, "keys", None)
    return found
