"""Documents of the simulated OpenSearch read back, page by page and one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from zlib import crc32

from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.sinks.opensearch.memory import Memory
from cdc.sinks.opensearch.provenance import RememberedSource
from cdc.testing.simulated._index import Held
from cdc.testing.simulated.opensearch import SimulatedOpenSearch

__all__ = ["SimulatedDocuments"]


@dataclass(frozen=True)
class SimulatedDocuments:
    """Reads a `SimulatedOpenSearch` as a `DocumentReader`: pages of one moment, single documents as they stand now.

    No tombstone is shown, whatever an alias's filter says. Each request may meet the server's faults.
    """

    server: SimulatedOpenSearch
    page_size: int = 3

    def pages(
        self, index: str, *, slice_: int = 0, slices: int = 1, with_source: bool
    ) -> Iterator[Sequence[FoundDocument]]:
        """See `cdc.sinks.opensearch.documents.DocumentReader.pages`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        with _translated(index):
            found = [
                _document(name, held, with_source=with_source)
                for name, held in self.server.held(index).items()
                if crc32(name.encode()) % slices == slice_ and TOMBSTONE_FIELD not in held.source
            ]
        for start in range(0, len(found), self.page_size):
            if start:
                with _translated(index):
                    self.server.held(index, ())  # each page is a request that may fail
            yield found[start : start + self.page_size]

    def get(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> Sequence[FoundDocument | None]:
        """See `cdc.sinks.opensearch.documents.DocumentReader.get`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        with _translated(index):
            found = self.server.held(index, [name for name, _ in wanted])
        held = ((name, found.get(name)) for name, _ in wanted)
        return [
            None if one is None or TOMBSTONE_FIELD in one.source else _document(name, one, with_source=True)
            for name, one in held
        ]

    def count(self, index: str) -> int:
        """See `cdc.sinks.opensearch.documents.DocumentReader.count`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        with _translated(index):
            return sum(TOMBSTONE_FIELD not in held.source for held in self.server.held(index).values())

    def sample(self, index: str, size: int, seed: int) -> Sequence[FoundDocument]:
        """See `cdc.sinks.opensearch.documents.DocumentReader.sample`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        found = [one for page in self.pages(index, with_source=True) for one in page]
        return random.Random(seed).sample(found, min(size, len(found)))  # noqa: S311  (not a secret)

    def concretes(self, index: str) -> Sequence[str]:
        """See `cdc.sinks.opensearch.documents.KnowsConcretes.concretes`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        with _translated(index):
            return sorted(self.server.indices.get_mapping(index=index))

    def sources(self, index: str) -> Mapping[str, Sequence[RememberedSource]]:
        """See `cdc.sinks.opensearch.documents.RemembersSources.sources`.

        Raises:
            SinkUnavailable: the server is down or fails.
            ConfigError: there is no such index.
        """
        found: dict[str, list[RememberedSource]] = {}
        with _translated(index):
            answer = self.server.indices.get_mapping(index=index)
        for concrete, state in answer.items():
            memory = Memory(concrete, state.get("mappings", {}))
            for table in memory.tables:
                source = memory.source(table)
                found.setdefault(table, []).extend([] if source is None else [source])
        return found


def _document(name: str, held: Held, *, with_source: bool) -> FoundDocument:
    return FoundDocument(name, held.version, held.routing, held.text if with_source else None)


@contextmanager
def _translated(index: str) -> Iterator[None]:
    from opensearchpy.exceptions import NotFoundError, TransportError

    try:
        yield
    except NotFoundError as error:
        raise ConfigError(f"there is no index {index}", remedy="Check `index` in the mapping.") from error
    except TransportError as error:
        overloaded = CauseKind.OVERLOADED if error.status_code == 429 else CauseKind.OUT_OF_REACH
        text = f"documents of {index} can't be read: {type(error).__name__}"
        raise SinkUnavailable("opensearch", text, kind=overloaded) from error
