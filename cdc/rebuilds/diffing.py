"""Diffing: a mapping file tried on real items beside the index that they are in; that index is only read."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.loads.changes import keys_of, loaded_version
from cdc.loads.deployment import Deployment
from cdc.loads.table import SourceTable
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.model import TableMapping
from cdc.mappings.writes import Put
from cdc.outcome import Rejected
from cdc.rebuilds.document_fields import FieldCounts, differing_fields, fields_of
from cdc.rebuilds.live_index import LiveIndex
from cdc.rebuilds.mapping_diff import MappingDiff
from cdc.rebuilds.scratch import scratch_index
from cdc.rebuilds.trial import Trial
from cdc.records.attributes import RawItem
from cdc.records.stream import Stream
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.verification.content import has_set_aside
from cdc.verification.expected import Expectations
from cdc.verification.patience import ReadUnits, patiently
from cdc.verification.sampling import ItemSample, documents_counted

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["diff_mapping", "indices_of"]

_AT_ONCE = 100
_EXAMPLES = 10
"""Ids of each kind."""
_READ_SECONDS = 60.0


def indices_of(mapping: TableMapping, table: str) -> tuple[str, ...]:
    """The indices that items of the table go to, by its mapping.

    Raises:
        ConfigError: a transform can't be loaded.
    """
    return tuple(compile_mapping(mapping, table).bodies)


def diff_mapping(
    deployment: Deployment,
    client: OpenSearch,
    mapping: TableMapping,
    table: str,
    index: str,
    *,
    stream: Stream | None = None,
    sample: int = 1000,
    seed: int | None = None,
    settle_seconds: float = 5.0,
    max_read_units: float | None = None,
    with_ids: bool = False,
    observe: Callable[[int], None] = lambda _items: None,
) -> MappingDiff:
    """Compare what a mapping makes of random items with the documents and the index of now.

    The documents that it makes are written to a hidden index of their own, which is deleted at the end; the index of
    now and the table are only read. Items whose documents have other values, and those that seem to lack theirs, are
    looked at once more, by consistent reads.

    Args:
        client: makes, writes and deletes the hidden index; reads the mapping of the one of now.
        index: its name in the mapping.
        stream: where the table's changes come from; by default the stream that is on. Kinesis has to be named.
        sample: so many items.
        seed: of the sample; by default another one each time.
        settle_seconds: so much later comes the second look: longer than consumers lag behind.
        max_read_units: a second.
        with_ids: give some ids of what would change: they are made of items' keys.
        observe: is told how many items are compared.

    Raises:
        ConfigError: there is no such table or index, OpenSearch refuses the body, or this user lacks a permission.
        SinkUnavailable: the table or OpenSearch has been out of reach for ten minutes.
    """
    source = patiently(deployment, lambda: deployment.pages.describe(table))
    stream = stream or source.stream
    if stream is None:
        raise ConfigError(
            f"the table {table} has no stream that is on",
            remedy="Enable its stream; of a table that is read through Kinesis name that stream.",
        )
    compiled = compile_mapping(mapping, table, sorted(source.keys))
    if index not in compiled.bodies:
        raise ConfigError(
            f"{mapping.source}: no document of {table} goes to {index!r}; there are: {', '.join(compiled.bodies)}",
            remedy="Name one of these by --index.",
        )
    expectations = Expectations(compiled, stream, source.keys, loaded_version(stream, int(deployment.now() * 1e6)))
    live = LiveIndex.of(client, index, compiled)
    with scratch_index(
        client, index, compiled.bodies[index], tombstones=index in compiled.tombstoned, source=mapping.source
    ) as scratch:
        run = _Run(
            deployment=deployment,
            expectations=expectations,
            live=live,
            trial=Trial(deployment, client, mapping, scratch),
            units=ReadUnits(deployment, max_read_units),
            observe=observe,
        )
        drawn = ItemSample(deployment.pages, run.units, source, documents_counted(deployment, (index,)))
        run.all(drawn, sample, random.Random(seed), settle_seconds)  # noqa: S311  (not a secret)
        made = LiveIndex.of(client, scratch, compiled)
    return run.report(source, made, with_ids=with_ids)


@dataclass(frozen=True, slots=True)
class _Pair:
    """An item with its document as it is, and as it would be."""

    item: RawItem
    keys: RawItem
    today: FoundDocument | None
    wanted: Put | Rejected | None
    doubles: int
    """Further documents of the item in the index, under other ids."""


@dataclass
class _Run:
    """One comparison, and what it has found so far."""

    deployment: Deployment
    expectations: Expectations
    live: LiveIndex
    trial: Trial
    units: ReadUnits
    observe: Callable[[int], None]
    items: int = 0
    before: int = 0
    after: int = 0
    missing: int = 0
    doubles: int = 0
    counts: FieldCounts = field(default_factory=FieldCounts)
    ids: dict[str, list[str]] = field(default_factory=dict)

    def all(self, sample: ItemSample, size: int, chance: random.Random, settle_seconds: float) -> None:
        """Compare the items of a sample."""
        doubtful: list[RawItem] = []
        for items in _parts(sample.items(size, chance)):
            pairs = self._pairs(items)
            doubtful += [pair.keys for pair in pairs if self._is_doubtful(pair)]
            self._count([pair for pair in pairs if not self._is_doubtful(pair)])
        if doubtful:
            self.deployment.sleep(settle_seconds)
        for keys in _parts(doubtful):
            found = patiently(self.deployment, partial(self._read, keys))
            self._count(self._pairs([item for item in found if item is not None]))

    def _read(self, keys: Sequence[RawItem]) -> Sequence[RawItem | None]:
        deadline = Deadline.after(_READ_SECONDS, clock=self.deployment.clock)
        return self.deployment.items.read(self.expectations.stream.table, keys, deadline)

    def _pairs(self, items: Sequence[RawItem]) -> list[_Pair]:
        keys = [keys_of(item, self.expectations.keys) for item in items]
        places = [self.live.places(one) for one in keys]
        wanted = [place for several in places for place in several]
        found = iter(patiently(self.deployment, lambda: self.deployment.documents.get(self.live.concrete, wanted)))
        pairs = []
        for item, one, several in zip(items, keys, places, strict=True):
            there = [document for _, document in zip(several, found, strict=False) if document is not None]
            put = self.expectations.put(self.live.index, item)
            pairs.append(_Pair(item, one, next(iter(there), None), put, len(there[1:])))
        return pairs

    def _is_doubtful(self, pair: _Pair) -> bool:
        """May it look so only since the item has changed, and the consumer has not come to that yet?"""
        if pair.today is None:
            return pair.wanted is not None and self.live.should_have(pair.item)
        if not isinstance(pair.wanted, Put):
            return pair.wanted is None
        ignored = self.expectations.ignored(self.live.index, pair.item)
        fields = differing_fields(fields_of(pair.today.source or b""), fields_of(pair.wanted.source), ignored)
        return any(change == "changed" for _, change in fields)

    def _count(self, pairs: Sequence[_Pair]) -> None:
        documents = []
        for pair in pairs:
            self._compare(pair)
            aside = None if pair.today is None else has_set_aside(pair.today.source or b"")
            if isinstance(pair.wanted, Put):
                change = self.expectations.change(pair.item, pair.keys, self.expectations.version)
                documents.append((change, pair.wanted, aside))
            elif isinstance(pair.wanted, Rejected):
                identifier = pair.wanted.document.partition("/")[2]
                self.trial.refuse(pair.wanted, "dead letter", identifier, is_new=pair.today is not None)
        self.after += self.trial.write(documents)
        self.observe(self.items)

    def _compare(self, pair: _Pair) -> None:
        today, wanted = pair.today, pair.wanted
        self.items += 1
        self.before += (today is not None) + pair.doubles
        self.doubles += pair.doubles
        before = None if today is None else fields_of(today.source or b"")
        after = fields_of(wanted.source) if isinstance(wanted, Put) else None
        self.counts.add(before, after, self.expectations.ignored(self.live.index, pair.item))
        if today is None:
            if isinstance(wanted, Put) and self.live.should_have(pair.item):
                self.missing += 1
            elif isinstance(wanted, Put):
                self._note("appear", wanted.id)
        elif wanted is None:
            self._note("vanish", today.id)
        elif isinstance(wanted, Put):
            if today.id != wanted.id:
                self._note("new_ids", today.id)
            if today.routing != wanted.routing:
                self._note("new_routings", today.id)

    def _note(self, kind: str, identifier: str) -> None:
        self.ids.setdefault(kind, []).append(identifier)

    def report(self, source: SourceTable, made: LiveIndex, *, with_ids: bool) -> MappingDiff:
        """All that was found."""
        ids = {**self.ids, "refused": self.trial.refused_ids}
        types = list(self.live.types_changed(made, self.counts))
        compiled = self.expectations.compiled
        return MappingDiff(
            table=source.name,
            index=self.live.index,
            concrete=self.live.concrete,
            source=compiled.mapping.source,
            items=self.items,
            before=self.before,
            after=self.after,
            rules=self.live.rules,
            **{kind: len(self.ids.get(kind, ())) for kind in ("appear", "vanish", "new_ids", "new_routings")},
            types=tuple(change for change, is_sure in types if is_sure),
            unsure=tuple(change for change, is_sure in types if not is_sure),
            settings=self.live.settings_changed(made),
            fields=self.counts.fields(),
            refused=self.trial.refusals,
            taken_again=self.trial.taken_again,
            missing=self.missing,
            doubles=self.doubles,
            body_differs=self.live.body_differs,
            remembers=self.live.known is not None,
            others=self.live.others,
            ids={kind: tuple(found[:_EXAMPLES]) for kind, found in ids.items() if found} if with_ids else {},
        )


def _parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    several = iter(values)
    while part := list(islice(several, _AT_ONCE)):
        yield part
