"""The checker: what the promise asks of a simulation, looked at from outside of the product.

It reads the simulated servers as they are, decides by a few plain lines of its own what an item's document should be,
and never asks the product what it did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cdc.archive import WITHOUT_NEW_IMAGE, read_archive
from cdc.dead_letters.letter import DeadLetter, change_of_letter
from cdc.delivery.age_limit import DEFERRED_TOO_LONG
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.records.attributes import RawItem
from cdc.records.change import Change
from cdc.records.identity import keys_digest
from cdc.testing.clock import SimulatedClock
from cdc.testing.simulated.opensearch import SimulatedOpenSearch
from cdc.testing.simulated.s3 import SimulatedS3
from cdc.testing.simulated.table import SimulatedTable, TableWrite
from tests.simulation.differences import Differences
from tests.simulation.plan import Plan
from tests.simulation.truth import (
    ARCHIVE,
    INDICES,
    LETTERS,
    POISON,
    RENAMED,
    document_of,
    identifier_of,
    is_archived,
    lines_of,
    owner_of,
    record_of,
    whole,
)

__all__ = ["Checker"]

_SHOWN = 5
_OLD_SECONDS = 18 * 3600.0


class Checker:
    """Collects `violations`, one line each."""

    def __init__(
        self, plan: Plan, clock: SimulatedClock, table: SimulatedTable, server: SimulatedOpenSearch, s3: SimulatedS3
    ) -> None:
        self.plan = plan
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.given_up: set[str] = set()
        """Identities of changes that went to Lambda's on-failure destination."""
        self._table = table
        self._server = server
        self._s3 = s3
        self._durable: set[str] = set()
        self.loads_finished = False
        """Has a load brought in what no record tells of?"""
        self.repaired = False
        """Did a repair come last? Then nothing but the table's items may be in the index."""
        self.watched: list[Differences] = []
        """Those that verifications are held to that run now."""
        self.is_changed: Callable[[str], bool] = lambda _concrete: False
        """Are the documents of a concrete index made by the changed mapping file?"""
        self.is_load: Callable[[], bool] = lambda: False
        """Is it a load that writes now?"""
        self._seen_puts = 0
        self._revived: set[tuple[str, str]] = set()
        self._newest: dict[tuple[str, str], int] = {}  # the highest number that a document ever showed
        self._last_gone: dict[tuple[str, str], float] = {}  # when it was last removed
        self._writes: dict[str, TableWrite] = {}
        self._clock = clock
        self._before_streams = len(table.history)
        self._excused: set[tuple[str, str]] = set()
        self._looked_at: set[str] = set()
        self._first_tried: dict[str, int] = {}
        self._newest_tried: dict[tuple[str, str, str], int] = {}
        server.on_write = self._written
        table.listen(lambda _write: self.changed())

    def violated(self, text: str) -> None:
        """Note that the promise is broken."""
        if text not in self.violations:
            self.violations.append(text)

    # --- while it runs

    def differences(self) -> Differences:
        """Looks at what differs from now on."""
        return Differences(self._clock, lambda: self._of_loads(refused=False), self._found)

    def searched(self) -> dict[str, str]:
        """The concrete index that searches of each index see."""
        return {index: next(iter(self._server.behind(index)), index) for index in INDICES}

    def _found(self, where: Mapping[str, str] | None = None) -> dict[tuple[str, str], Any]:
        return {
            (index, identifier): whole(source, changed=self.is_changed(concrete))
            for index, concrete in (where or self.searched()).items()
            for identifier, (_, source) in self._server.documents(concrete).items()
            if TOMBSTONE_FIELD not in source
        }

    def changed(self) -> None:
        """The table or an index is another than before."""
        for watched in self.watched:
            watched.look()

    def _written(self, index: str, identifier: str, old: Any, new: tuple[int, Any]) -> None:
        self.changed()
        self.counts["writes"] += 1
        source = new[1]
        if source is None or TOMBSTONE_FIELD in source:
            self._last_gone[index, identifier] = self._clock()
        else:
            self._newest[index, identifier] = max(self._newest.get((index, identifier), 0), source["n"])
            if RENAMED[not self.is_changed(index)] in source:
                self.violated(f"{index}/{identifier} is made by another mapping than that of its index")
        highest = self._server.versions_ever.get((index, identifier), -1)
        if old is not None and new[0] < old[0]:
            self.violated(f"{index}/{identifier}: version {new[0]} was written over {old[0]}")
        elif new[0] < highest:
            self.counts["older states after a forgotten delete"] += 1
            if self._server.is_late or not self.is_load():
                self._revived.add((index, identifier))
            if self.plan.on_remove == "tombstone":
                self.violated(f"{index}/{identifier}: version {new[0]} came after {highest}, in spite of tombstones")

    def tried(self, changes: Iterable[Change], consumer: str) -> None:
        """Changes reach a consumer's sinks: each item's in the order of its stream, when they first come."""
        if self.plan.consumer == "kinesis":
            return  # Kinesis itself is out of order
        for change in changes:
            identity = f"{change.identity} of the {consumer}"
            if identity in self._first_tried:
                self.counts["replays"] += 1
                continue
            place = self._first_tried[identity] = change.sequence.value
            item = consumer, change.stream.arn, change.identity.digest
            newest = self._newest_tried.get(item, -1)
            if place < newest:
                self.violated(f"{identity} reached the sinks after {newest} of the same item")
            self._newest_tried[item] = max(newest, place)

    def acknowledged(self, changes: Sequence[Change]) -> None:
        """Changes are acknowledged: by now they must be durable everywhere."""
        self._look_at_new_objects()
        for change in changes:
            identity = str(change.identity)
            self.counts["acknowledged"] += 1
            if identity not in self._durable:
                self.violated(f"{identity} was acknowledged before it was in the archive")
            if not self._is_indexed(self._write_of(change)) and not self._has_letter(change):
                self.violated(f"{identity} was acknowledged before it was in the index")

    def _write_of(self, change: Change) -> TableWrite:
        history = self._table.history
        for write in history[len(self._writes) :]:
            self._writes[self._identity(write) or f"unrecorded {write.place}"] = write
        return self._writes[str(change.identity)]

    def _is_indexed(self, write: TableWrite) -> bool:
        """Was its state, or a later one of the item, ever written wherever it belongs?"""
        if not self.plan.view.has_new_image:
            return True  # read back from the table: it may be gone there
        wanted = {}
        if write.before is not None:
            wanted[owner_of(write.before)] = int(write.before["n"]["N"]) + 1
        if write.after is not None:
            wanted[owner_of(write.after)] = int(write.after["n"]["N"])
        return all(self._was_written(index, write, number) for index, number in wanted.items())

    def _was_written(self, index: str, write: TableWrite, number: int) -> bool:
        identifier, made = identifier_of(write.keys), write.micros // 1_000_000
        places = [(f"{index}-v{version}", identifier) for version in range(1, 10)]  # of those that ever were
        return any(self._newest.get(one, 0) >= number or self._last_gone.get(one, -1.0) >= made for one in places)

    def _has_letter(self, change: Change) -> bool:
        name = str(change.identity).replace("/", "_").replace(":", "")
        return any(name in key for key in self.letters)

    def is_kept(self, identifier: str) -> bool:
        """Is there a dead letter of the item of this document?"""
        keys = next((one.keys for one in self._table.history if identifier_of(one.keys) == identifier), None)
        return keys is not None and any(keys_digest(keys) in letter for letter in self.letters)

    @property
    def letters(self) -> list[str]:
        """The keys of all dead letters."""
        return [stored.key for stored in self._s3.objects.values() if stored.bucket == LETTERS]

    def _look_at_new_objects(self) -> None:
        for _, key in self._s3.puts[self._seen_puts :]:
            stored = self._s3.objects.get(key)
            if stored is not None and is_archived(stored):
                self._durable.update(line["Metadata"]["Identity"]["S"] for line in lines_of(stored.body))
        self._seen_puts = len(self._s3.puts)

    # --- at the end

    def archive_is_complete(self, *, allow_overlap: bool) -> None:
        """Every recorded change is read from the archive exactly once, as it was."""
        read = list(read_archive(self._s3, ARCHIVE, "cdc"))  # type: ignore[arg-type]
        counts = Counter(one.identity for one in read)
        made = {self._identity(write): write for write in self._recorded()}
        for one in read:
            if one.identity in made and not self._is_whole(one.document, made[one.identity]):
                self.violated(f"{one.identity} is archived otherwise than it was")
        wanted = made.keys() - self.given_up
        self._say("is not in the archive", wanted - counts.keys())
        self._say("is read from the archive, though nobody made it", counts.keys() - wanted - self.given_up)
        self._say("is read more than once from the archive", (name for name, count in counts.items() if count > 1))
        raw = Counter(
            line["Metadata"]["Identity"]["S"]
            for stored in self._s3.objects.values()
            if is_archived(stored)
            for line in lines_of(stored.body)
        )
        firsts = Counter(
            record_of(lines_of(stored.body)[0]) for stored in self._s3.objects.values() if is_archived(stored)
        )
        self._say("begins two objects", (name for name, count in firsts.items() if count > 1))
        twice = [name for name, count in raw.items() if count > 1]
        self.counts["archived"] = len(counts)
        self.counts["archived twice"] = len(twice)
        if not allow_overlap:
            self._say("is in two objects, though nothing was interrupted", twice)

    def _is_whole(self, line: Mapping[str, Any], write: TableWrite) -> bool:
        view = self.plan.view
        line = line.get(WITHOUT_NEW_IMAGE, line)
        return (
            line["Keys"] == write.keys
            and line.get("OldImage") == (write.before if view.has_old_image else None)
            and line.get("NewImage") == (write.after if view.has_new_image else None)
        )

    def letters_are_whole(self) -> None:
        """Every dead letter holds its record as it was; none is of a good record that was still young."""
        made = {self._identity(write): write for write in self._recorded()}
        for stored in [one for one in self._s3.objects.values() if one.bucket == LETTERS]:
            letter = DeadLetter.from_json(stored.body)
            change = change_of_letter(letter)
            if change.record.get("source") == "load":
                self._is_of_a_load(letter.identity, change)
                continue
            write = made[letter.identity]
            images = {"Keys": change.raw_keys, "OldImage": change.raw_before, "NewImage": change.raw_after}
            if not self._is_whole(images, write):
                self.violated(f"{letter.identity}: its dead letter holds another record")
            age_seconds = datetime.fromisoformat(letter.kept_at).timestamp() - write.micros / 1e6
            if POISON not in (write.after or {}) and age_seconds < _OLD_SECONDS:
                self.violated(f"{letter.identity} is a dead letter, and it was good and young: {letter.reason}")

    def _is_of_a_load(self, identity: str, change: Change) -> None:
        """A letter of a load holds an item as it once stood; only poison is refused."""
        stood = any((write.keys, write.after) == (change.raw_keys, change.raw_after) for write in self._table.history)
        if not self.loads_finished or not stood or POISON not in (change.raw_after or {}):
            self.violated(f"{identity}: there is a dead letter of what nobody wrote")

    def deferred_too_long(self) -> list[Change]:
        """The changes of dead letters of records that were good, and could not be written in time."""
        letters = [DeadLetter.from_json(one.body) for one in self._s3.objects.values() if one.bucket == LETTERS]
        return [change_of_letter(letter) for letter in letters if letter.reason.startswith(DEFERRED_TOO_LONG)]

    def poisoned(self) -> list[RawItem]:
        """The keys of items that ever had a document that is refused."""
        return [write.keys for write in self._table.history if write.after is not None and POISON in write.after]

    def index_is_right(
        self, *, refused: bool, except_for: Sequence[RawItem] = (), beside: Mapping[str, str] | None = None
    ) -> None:
        """Every item's document is as the table has it. `refused`: poison is not in the index, but the state before.

        Args:
            except_for: items that wait for a redrive.
            beside: concrete indices that are looked at in the place of those that searches see.
        """
        where = beside or self.searched()
        waiting = {identifier_of(keys) for keys in except_for}
        excused: set[tuple[str, str]] = set()
        wanted, may_be = self._wanted(refused=refused), self._may_be(refused=refused)
        found = self._found(where)
        for place in sorted(wanted.keys() | found.keys()):
            if wanted.get(place) == found.get(place):
                continue
            if place[1] in waiting:  # it may have been brought back as well, which no redrive tells from other states
                excused.add((where[place[0]], place[1]))
                continue
            if self.loads_finished and found.get(place) in may_be.get(place, ()):
                continue
            if found.get(place, {}).get("pk") == "foreign" and self.is_kept(place[1]):
                continue  # another program altered what was there before the change that is a dead letter
            if place not in wanted and not self.repaired and self._may_be_revived((where[place[0]], place[1])):
                excused.add((where[place[0]], place[1]))
                self.counts["deleted items brought back by a stray writer"] += 1
                continue
            self.violated(
                f"{where[place[0]]}/{place[1]}: the index holds {found.get(place)}, it should be {wanted.get(place)}"
            )

        concretes = set(where.values())
        if not concretes & self._looked_at:
            self._looked_at |= concretes
            self._excused |= excused  # what comes back after this look is a fault of whoever wrote it

    def _may_be_revived(self, place: tuple[str, str]) -> bool:
        """The one limit that is OpenSearch's own: see docs/guarantees.md."""
        if self.plan.on_remove != "delete" or place not in self._revived:
            return False
        return place[0] not in self._looked_at or place in self._excused

    def _wanted(self, *, refused: bool) -> dict[tuple[str, str], Any]:
        if self.repaired:
            return self._of_loads(refused=refused)
        wanted: dict[tuple[str, str], Any] = {}
        for write in self._recorded():
            identifier = identifier_of(write.keys)
            owner = None if write.after is None else owner_of(write.after)
            document = None if write.after is None else document_of(write.after)
            for index in INDICES:
                if index == owner:
                    if not (refused and document is not None and POISON in document):
                        wanted[index, identifier] = document
                elif self._leaves(write, index):
                    wanted.pop((index, identifier), None)
        return wanted | self._of_loads(refused=refused) if self.loads_finished else wanted

    def _of_loads(self, *, refused: bool) -> dict[tuple[str, str], Any]:
        """The documents of the items that are there: a load brings them in, whether a record tells of them or not."""
        found = {}
        for item in self._table.items.values():
            document = document_of(item)
            if not (refused and POISON in document):
                found[owner_of(item), identifier_of({name: item[name] for name in self._table.keys})] = document
        return found

    def _may_be(self, *, refused: bool) -> dict[tuple[str, str], tuple[Any, ...]]:
        """All that a document may be, where loads leave it open: that of an item which was dropped with its table, and
        the older state of one whose newest is refused."""
        found: dict[tuple[str, str], tuple[Any, ...]] = {}
        items, letters = self._table.items, self.letters
        for write in self._table.history:
            is_dropped = write.place < self._table.began_at_place
            if self.repaired and not any(write.digest in letter for letter in letters):
                continue  # nothing but a dead letter explains that it is so still
            is_refused = refused and write.digest in items and POISON in items[write.digest]
            if write.after is not None and (is_dropped or is_refused):
                place = owner_of(write.after), identifier_of(write.keys)
                found[place] = (*found.get(place, (None,)), document_of(write.after))
        return found

    def _leaves(self, write: TableWrite, index: str) -> bool:
        """Does its record tell that the item was there? Of what a dropped table left behind, none does."""
        if write.before is None:
            return False
        return not self.plan.view.has_old_image or owner_of(write.before) == index

    def _recorded(self) -> list[TableWrite]:
        if self.plan.consumer == "kinesis":
            return list(self._table.history[self._before_streams :])
        return [write for write in self._table.history if write.identity]

    def _identity(self, write: TableWrite) -> str:
        return write.kinesis_identity if self.plan.consumer == "kinesis" else write.identity

    def _say(self, what: str, identities: Iterable[str]) -> None:
        for identity in sorted(identities)[:_SHOWN]:
            self.violated(f"{identity} {what}")
