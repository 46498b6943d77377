"""Verify: does each index hold what its table says? Both are read once, and what differs is looked at again."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TypeVar

import msgspec

from cdc.errors import ConfigError
from cdc.loads.changes import loaded_version
from cdc.loads.deployment import Deployment
from cdc.loads.price import dollars_of_read_units
from cdc.loads.table import SourceTable
from cdc.records.stream import Stream
from cdc.verification.candidates import Candidates
from cdc.verification.expected import Expectations
from cdc.verification.findings import Difference, DifferenceClass, Findings, Price
from cdc.verification.judgement import Judge
from cdc.verification.keys import KeysOfDocuments
from cdc.verification.letters import KeptLetters
from cdc.verification.looks import Candidate, Looks, Seen
from cdc.verification.patience import ReadUnits, patiently
from cdc.verification.reading import FOREIGN_ABOVE, FOREIGN_BELOW, REJECTED, SET_ASIDE, Reading, VerificationProgress
from cdc.verification.repair import Repaired, Repairer
from cdc.verification.sampling import ItemSample, documents_counted
from cdc.verification.sources import KnownSources
from cdc.verification.spool import Spool

__all__ = ["RepairRefused", "VerificationProgress", "verify"]

_CHUNK = 10_000
"""Candidates that are looked at together, so that there is one wait for all of them."""
_EXAMPLES = 10
"""Examples of each class."""
_SEGMENTS_A_WORKER = 8
_T = TypeVar("_T")


class RepairRefused(ConfigError):
    """There are more differences than may be mended; nothing was. `findings` says which there are."""

    def __init__(self, findings: Findings, most: int) -> None:
        super().__init__(
            f"{findings.table}: there are {findings.differences:,} differences, and at most {most:,} may be mended",
            remedy=f"Look at them first; then allow --max {findings.differences} (max), or fill the index anew by "
            "`cdc backfill`.",
        )
        self.findings = findings


def verify(
    deployment: Deployment,
    table: str,
    *,
    stream: Stream | None = None,
    indices: Collection[str] | None = None,
    with_content: bool = True,
    sample: int | None = None,
    seed: int | None = None,
    workers: int = 4,
    segments: int | None = None,
    max_read_units: float | None = None,
    settle_seconds: float = 5.0,
    repair: bool = False,
    dry_run: bool = False,
    max_repairs: int | None = 1000,
    kinds: Collection[DifferenceClass] = tuple(DifferenceClass),
    scan_again: bool = True,
    folder: str | None = None,
    observe: Callable[[VerificationProgress], None] | None = None,
) -> Findings:
    """Compare a table with the indices of its mapping, and mend what differs where `repair` asks for it.

    Args:
        stream: where the table's changes come from; by default the stream that is on. Kinesis has to be named.
        indices: only these of the mapping.
        with_content: compare contents; else ids and versions only, which reads no sources.
        sample: look at so many random items and as many random documents instead of all.
        seed: of the sample; by default another one each time.
        workers: threads that read; one reads in this thread.
        segments: parts that the table is read in; by default some for each worker.
        max_read_units: a second.
        settle_seconds: so much later comes the second look: longer than consumers lag behind.
        repair: mend what differs, each at a version that is there already.
        dry_run: write nothing; `left` counts all differences, and examples that can't be mended say why.
        max_repairs: with more differences nothing is mended; None: however many there are.
        kinds: only these classes of differences are mended.
        scan_again: read the whole table once more where neither id nor fields tell which item a document is of; else
            such documents are left out, and counted in `untold`.
        folder: where the spool is kept; by default the system's folder for temporary files.
        observe: is told how far it is; by default the deployment's own.

    Raises:
        ConfigError: there is no such table or index, one may not be read, or the table has no stream.
        RepairRefused: there are more differences than `max_repairs`.
        SinkUnavailable: the table, OpenSearch or the archive has been out of reach for ten minutes.
    """
    source = patiently(deployment, lambda: deployment.pages.describe(table))
    stream = stream or _stream_of(source)
    compiled = deployment.prepare(stream, source.keys, None if stream.minute is None else source.view)
    if indices is not None:
        compiled = replace(compiled, owners=tuple(owner for owner in compiled.owners if owner.index in indices))
    version = loaded_version(stream, int(deployment.now() * 1_000_000))
    expectations = Expectations(compiled, stream, source.keys, version)
    sources = KnownSources(deployment.documents, stream, deployment.now)
    units = ReadUnits(deployment, max_read_units)
    looks = Looks(deployment, table, Judge(expectations, sources, with_content), units, settle_seconds)
    keys = KeysOfDocuments(expectations)
    run = _Run(
        deployment=deployment,
        source=source,
        expectations=expectations,
        sources=sources,
        keys=keys,
        units=units,
        looks=looks,
        letters=KeptLetters(deployment, table),
        candidates=Candidates(deployment, expectations, keys, units),
        with_content=with_content,
        observe=observe or deployment.observe,
        most=0 if not repair else sys.maxsize if max_repairs is None else max_repairs,
        kinds=frozenset(kinds) - {DifferenceClass.KEPT},
        scan_again=scan_again,
    )
    if sample is None:
        run.everything(segments or max(1, workers) * (_SEGMENTS_A_WORKER if workers > 1 else 1), workers, folder)
    else:
        run.sample(sample, random.Random(seed))  # noqa: S311  (not a secret)
    if not repair:
        return run.findings(sampled=sample is not None)
    return run.mended(sampled=sample is not None, dry_run=dry_run)


def _stream_of(source: SourceTable) -> Stream:
    if source.stream is None:
        raise ConfigError(
            f"the table {source.name} has no stream that is on",
            remedy="Enable its stream; of a table that is read through Kinesis name that stream.",
        )
    return source.stream


@dataclass
class _Run:
    """One verification, and what it has found so far."""

    deployment: Deployment
    source: SourceTable
    expectations: Expectations
    sources: KnownSources
    keys: KeysOfDocuments
    units: ReadUnits
    looks: Looks
    letters: KeptLetters
    candidates: Candidates
    with_content: bool
    observe: Callable[[VerificationProgress], None]
    most: int
    kinds: frozenset[DifferenceClass]
    scan_again: bool = True
    items: int = 0
    documents: int = 0
    equal: int = 0
    set_aside: int = 0
    unsettled: int = 0
    looked_at: int = 0
    untold: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)
    faults: list[Seen] = field(default_factory=list)
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.deployment.now()

    def everything(self, segments: int, workers: int, folder: str | None) -> None:
        """Read both sides whole, and look at what differs."""
        with Spool(folder) as spool:
            reading = Reading(
                self.deployment,
                self.expectations,
                self.sources,
                self.keys,
                self.units,
                spool,
                self.with_content,
                self.observe,
            )
            reading.all(segments, workers)
            self.items = reading.items
            flagged = REJECTED | FOREIGN_ABOVE | (0 if self.with_content else FOREIGN_BELOW)
            for pairs in _parts(spool.pairs(flagged, SET_ASIDE)):
                self._look(self.candidates.of(pairs))
            self.documents = spool.theirs
            self.equal += spool.equal
            self.set_aside += spool.noted
        self._look_at_the_rest()

    def sample(self, size: int, chance: random.Random) -> None:
        """Look at random items and random documents; once at a document that is drawn from both sides."""
        looked: set[tuple[str, str, str | None]] = set()
        for candidates in _parts(self._sampled_items(size, chance)):
            looked.update((one.index, one.id, one.routing) for one in candidates)
            self._look(candidates)
        for index in self.expectations.indices:
            seed = chance.randrange(1 << 31)
            drawn = patiently(self.deployment, partial(self._drawn, index, size, seed))
            self.documents += len(drawn)
            others = [one for one in drawn if (index, one[0], one[1]) not in looked]
            self._look(self.candidates.of_documents(index, others))
        self._look_at_the_rest()

    def _look_at_the_rest(self) -> None:
        if not self.scan_again:
            self.untold = len(self.candidates.unresolved)
            return
        for rest in _parts(self.candidates.rest()):
            self._look(rest)

    def _drawn(self, index: str, size: int, seed: int) -> list[tuple[str, str | None, int]]:
        drawn = self.deployment.documents.sample(index, size, seed)
        return [(document.id, document.routing, document.version) for document in drawn]

    def mended(self, *, sampled: bool, dry_run: bool) -> Findings:
        """The findings after a repair."""
        findings = self.findings(sampled=sampled)
        if sum(self.counts[kind.value] for kind in self.kinds) > self.most:
            raise RepairRefused(findings, self.most)
        repairer = Repairer(self.deployment, self.expectations, self.looks, self.source.id)
        result = repairer.mend(self.faults, dry_run=dry_run)
        return _with_repair(self.findings(sampled=sampled), result, dry_run=dry_run)

    def _sampled_items(self, size: int, chance: random.Random) -> Iterator[Candidate]:
        """The documents that random items should have."""
        sample = ItemSample(
            self.deployment.pages,
            self.units,
            self.source,
            documents_counted(self.deployment, self.expectations.indices),
        )
        for item in sample.items(size, chance):
            self.items += 1
            self.keys.learn(item)
            yield from self.candidates.of_item(item)

    def _look(self, candidates: Sequence[Candidate]) -> None:
        for seen in self.looks.settled(candidates):
            self._count(seen)
        self.looked_at += len(candidates)
        self.observe(VerificationProgress(self.items, self.documents, self.looked_at, self.units.spent))

    def _count(self, seen: Seen) -> None:
        self.equal += seen.is_equal
        self.set_aside += seen.set_aside
        self.unsettled += seen.unsettled
        if seen.difference is None:
            return
        difference = self._explained(seen.difference)
        self.counts[difference.kind.value] += 1
        if self.counts[difference.kind.value] <= _EXAMPLES:
            self.examples.append(difference)
        if difference.kind in self.kinds and len(self.faults) < self.most:
            self.faults.append(seen.without_contents())

    def _explained(self, difference: Difference) -> Difference:
        """The difference as a kept one, if there is a dead letter of its document."""
        letter = self.letters.explaining(difference.index, difference.id, difference.keys)
        if not letter:
            return difference
        reason = f"{difference.kind.value}: {difference.reason}; a dead letter explains it"
        return msgspec.structs.replace(difference, kind=DifferenceClass.KEPT, letter=letter, reason=reason)

    def findings(self, *, sampled: bool) -> Findings:
        """All that was found so far."""
        return Findings(
            table=self.source.name,
            indices=self.expectations.indices,
            with_content=self.with_content,
            began_at=datetime.fromtimestamp(self.began, UTC),
            ended_at=datetime.fromtimestamp(self.deployment.now(), UTC),
            items=self.items,
            documents=self.documents,
            equal=self.equal,
            counts=dict(self.counts),
            set_aside=self.set_aside,
            unsettled=self.unsettled,
            untold=self.untold,
            sampled=sampled,
            examples=tuple(self.examples),
            price=Price(self.units.spent, dollars_of_read_units(self.units.spent)),
        )


def _with_repair(findings: Findings, result: Repaired, *, dry_run: bool) -> Findings:
    """The findings with what became of the differences; the examples of those left over say why."""
    reasons = {(one.index, one.id): one.reason for one in result.left}
    examples = tuple(
        msgspec.structs.replace(one, reason=reasons.get((one.index, one.id), one.reason)) for one in findings.examples
    )
    left = findings.differences if dry_run else len(result.left)
    repaired = dict(Counter(one.kind.value for one in result.mended))
    return msgspec.structs.replace(findings, examples=examples, repaired=repaired, left=left)


def _parts(everything: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(everything)
    while part := list(islice(iterator, _CHUNK)):
        yield part
