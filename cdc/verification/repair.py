"""Repair: differences that were seen twice are mended, each at a version that is there already: none is minted.

What the table says is written at the version that the document has (an equal one is taken), a ghost is removed at the
version that it has, a missing document is written at the version of its newest archived change, else at that of a load.
Then the item is read again, and the repair repeated if it changed: whatever is not yet seen of it outranks the repair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from cdc.archive import read_archive
from cdc.dead_letters.latest_state import WriteLatestState
from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.loads.changes import change_of_item
from cdc.loads.deployment import Deployment
from cdc.mappings.removals import RemovalsByEvent
from cdc.mappings.writes import Delete, Write
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.records.change import Change
from cdc.records.identity import keys_digest
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.verification.expected import Expectations
from cdc.verification.findings import Difference, DifferenceClass
from cdc.verification.looks import Candidate, Looks, Seen

__all__ = ["Repaired", "Repairer", "version_of_repair"]

_AT_ONCE = 500
_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Repaired:
    """The differences that were mended, and those that are left over, with the reason of each."""

    mended: tuple[Difference, ...] = ()
    left: tuple[Difference, ...] = ()


def version_of_repair(difference: Difference, archived: Mapping[str, int], loaded: int) -> int:
    """The version at which a difference is mended: one that is there already, never a new one.

    Args:
        archived: the versions of the newest archived changes by the digests of their keys.
        loaded: the version of a load, below every record that is still to come.
    """
    if difference.version is not None:
        return difference.version
    digest = keys_digest(difference.keys) if difference.keys else ""
    return max(loaded, archived.get(digest, loaded))


@dataclass
class Repairer:
    """Mends the differences of a table's indices."""

    deployment: Deployment
    expectations: Expectations
    looks: Looks
    table_id: str
    _left: list[Difference] = field(default_factory=list)

    def mend(self, seen: Sequence[Seen], *, dry_run: bool = False) -> Repaired:
        """Mend the differences that can be mended, then look again at each.

        Raises:
            ConfigError: the table was replaced meanwhile.
            SinkUnavailable: the table or the archive is out of reach.
        """
        faults = [_Fault(one.candidate, one.difference) for one in seen if one.difference and not one.hindrance]
        for one in seen:
            if one.difference and one.hindrance:
                self._leave(one.difference, one.hindrance)
        if dry_run:
            return Repaired((), tuple(self._left))
        archived = self._archived([fault.difference for fault in faults if fault.difference.version is None])
        written: dict[_Place, _Fault] = {}
        for index in dict.fromkeys(fault.difference.index for fault in faults):
            of_index = [fault for fault in faults if fault.difference.index == index]
            for start in range(0, len(of_index), _AT_ONCE):
                done = self._written(index, of_index[start : start + _AT_ONCE], archived)
                written.update((_place(fault.candidate), fault) for fault in done)
        return Repaired(tuple(self._seen_mended(written)), tuple(self._left))

    def _leave(self, difference: Difference, reason: str) -> None:
        self._left.append(msgspec.structs.replace(difference, reason=f"{difference.reason}: {reason}"))

    def _archived(self, missing: Sequence[Difference]) -> dict[str, int]:
        """The version of the newest archived change of each key, by one pass through the table's archive."""
        place = self.deployment.archive
        wanted = {keys_digest(difference.keys) for difference in missing if difference.keys}
        found: dict[str, int] = {}
        if place is None or not wanted:
            return found
        table = self.expectations.stream.table
        for archived in read_archive(place.client, place.bucket, place.prefix, table):
            digest = archived.identity.rpartition("/")[2]
            if digest in wanted:
                version = int(archived.document["Metadata"]["Version"]["N"])
                found[digest] = max(version, found.get(digest, version))
        return found

    def _written(self, index: str, faults: Sequence[_Fault], archived: Mapping[str, int]) -> list[_Fault]:
        """Write; those that OpenSearch took, or held something newer for."""
        stream, compiled = self.expectations.stream, self.expectations.only(index)
        # Kinesis tells changes apart by their time: without one an outcome that is not written could not be told
        micros = int(self.deployment.now() * 1_000_000) if stream.minute is None else None
        items: list[Change] = []
        removals: list[Change] = []
        deletes: dict[str, Write] = {}
        by_item = [fault for fault in faults if self._is_of_its_item(fault)]
        by_id = [fault for fault in faults if fault not in by_item]
        for fault in by_item:
            version = version_of_repair(fault.difference, archived, self.expectations.version)
            items.append(change_of_item(None, fault.candidate.keys or {}, stream, version=version, micros=micros))
        for number, fault in enumerate(by_id):
            version = version_of_repair(fault.difference, archived, self.expectations.version)
            deletes[str(number)] = Delete(index, fault.candidate.id, fault.candidate.routing, version)
            removal = change_of_item(None, {}, stream, version=version, micros=micros)
            removals.append(msgspec.structs.replace(removal, event_id=str(number)))
        by_mapping = self.deployment.load_sink(self.deployment.index(lambda _table: compiled))
        latest = WriteLatestState(by_mapping, self.deployment.items, self._check)
        done = self._settled(by_item, self._outcomes(latest, items))
        fixed = RemovalsByEvent(compiled.mapping, deletes)
        direct = self.deployment.load_sink(self.deployment.index(lambda _table: fixed))
        return done + self._settled(by_id, self._outcomes(direct, removals))

    def _is_of_its_item(self, fault: _Fault) -> bool:
        """Does the mapping make this very document of its item, or remove this one if there is none?"""
        keys = fault.candidate.keys
        if keys is None or fault.difference.kind is not DifferenceClass.GHOST:
            return keys is not None
        removal = change_of_item(None, keys, self.expectations.stream, version=self.expectations.version)
        return any(
            not isinstance(write, Rejected) and (write.id, write.routing) == _place(fault.candidate)[1:]
            for write in self.expectations.only(fault.difference.index).writes(removal)
        )

    def _check(self, stream: Stream) -> None:
        if self.deployment.pages.describe(stream.table).id != self.table_id:
            raise ConfigError(
                f"the table {stream.table} was replaced while it was verified",
                remedy="Verify again: what was found is of another table.",
            )

    def _outcomes(self, sink: Sink, changes: Sequence[Change]) -> Sequence[Outcome]:
        if not changes:
            return []
        deadline = Deadline.after(_SECONDS, clock=self.deployment.clock)
        outcomes = sink.write(changes, deadline)
        sink.flush(deadline)
        return outcomes

    def _settled(self, faults: Sequence[_Fault], outcomes: Sequence[Outcome]) -> list[_Fault]:
        done = []
        for fault, outcome in zip(faults, outcomes, strict=True):
            match outcome:
                case Deferred():
                    self._leave(fault.difference, f"{outcome.cause}: repair again")
                case Rejected():
                    kept = "; it is a dead letter" if outcome.kept else ""
                    self._leave(fault.difference, f"the index refuses it: {outcome.cause}{kept}")
                case _:
                    done.append(fault)
        return done

    def _seen_mended(self, written: Mapping[_Place, _Fault]) -> list[Difference]:
        """Look at each again: what differs still is left over."""
        mended = []
        for seen in self.looks.settled([fault.candidate for fault in written.values()]):
            if seen.difference is None:
                mended.append(written[_place(seen.candidate)].difference)
            else:
                self._leave(seen.difference, "it differs still: the index remembers a newer version of it")
        return mended


@dataclass(frozen=True, slots=True)
class _Fault:
    """A difference that can be mended by writing."""

    candidate: Candidate
    difference: Difference


_Place = tuple[str, str, str | None]


def _place(candidate: Candidate) -> _Place:
    return candidate.index, candidate.id, candidate.routing
