"""Tables of a rebuild: those that write to the index, each with the mapping files' rules of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from cdc.errors import ConfigError
from cdc.loads.deployment import Deployment
from cdc.loads.pinned import pinned
from cdc.loads.planning import LoadOptions, stream_of
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.identity import documents_in, may_share, shared_documents
from cdc.mappings.model import Mappings
from cdc.sinks.opensearch.carried import CarriedMapping, carried, compiled_from

if TYPE_CHECKING:
    from cdc.loads.table import SourceTable
    from cdc.rebuilds.standing import RebuildStanding
    from cdc.records.stream import Stream

__all__ = ["RebuiltTable", "tables_of"]


@dataclass(frozen=True)
class RebuiltTable:
    """A table that writes to the index."""

    index: str
    """The alias, as the mapping names it."""
    source: SourceTable
    stream: Stream
    compiled: CompiledMapping

    @property
    def name(self) -> str:
        """The table's name."""
        return self.source.name

    @property
    def carried(self) -> CarriedMapping:
        """The rules of its documents in the new index."""
        return carried(self.compiled, self.index)

    @property
    def is_tombstoned(self) -> bool:
        """May its documents be tombstones?"""
        return self.index in self.compiled.tombstoned

    def in_index(self, deployment: Deployment, concrete: str) -> Deployment:
        """The deployment for its documents in one concrete index, by the rules of now; see `pinned`."""
        mine = self.compiled
        made = compiled_from(self.carried, mine.table, mine.keys, concrete, mine.mapping.source)
        # what the archive leaves out is no rule of an index, and decides what a replay can do
        mapping = msgspec.structs.replace(made.mapping, archive=mine.mapping.archive)
        return pinned(deployment, replace(made, mapping=mapping))


def tables_of(
    deployment: Deployment, mappings: Mappings, options: LoadOptions, standing: RebuildStanding
) -> Sequence[RebuiltTable]:
    """The tables that write to the index.

    Raises:
        ConfigError: the index does not remember them, a mapping file has no document for it, two tables would share
            documents, or a table can't be read.
    """
    index, names = standing.index, standing.searched.tables
    if not names:
        raise ConfigError(
            f"{standing.searched.index} does not remember which tables write to it",
            remedy=f"Start the consumer once with its mapping, then: cdc rebuild --index {index}",
        )
    tables = [_table(deployment, mappings, options, name, index) for name in names]
    for at, one in enumerate(tables):
        for other in tables[:at]:
            mine, theirs = documents_in(index, one.compiled), documents_in(index, other.compiled)
            if may_share(one.compiled.table, mine, other.compiled.table, theirs):
                raise shared_documents(one.compiled.mapping.source, index, one.compiled.table, other.compiled.table)
    return tables


def _table(deployment: Deployment, mappings: Mappings, options: LoadOptions, name: str, index: str) -> RebuiltTable:
    source = deployment.pages.describe(name)
    compiled = compile_mapping(mappings.of(name), name, sorted(source.keys))
    if index not in compiled.bodies:
        raise ConfigError(
            f"{compiled.mapping.source} writes no document of {name} to {index}, which holds some",
            remedy=f"Add a document for {index}; or remove those of {name} from it, and its entries in _meta.cdc.",
        )
    return RebuiltTable(index, source, stream_of(source, options), compiled)
