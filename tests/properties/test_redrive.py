"""Redrives in any order, between anything, against an index that forgets its deletes: it ends as the table is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cdc import Applied, Change, Deadline, Operation, Outcome, Superseded
from cdc.dead_letters.latest_state import WriteLatestState
from cdc.outcome import settled
from cdc.records.attributes import RawItem, encode_item
from cdc.records.change import ParsedImages
from cdc.records.identity import keys_digest
from cdc.testing import change

Step = tuple[str, int, int]


def steps(*kinds: str) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.sampled_from(kinds), st.integers(0, 1), st.integers(0, 2)), max_size=24)


plans = steps("put", "delete", "deliver", "reject", "reject", "forget", "redrive")
meanwhiles = steps("put", "delete", "delete", "deliver", "deliver", "forget")


class World:
    """A table, its stream, and an index with external versions that forgets the versions of deleted documents."""

    name = "opensearch"

    def __init__(self, meanwhile: Sequence[Step]) -> None:
        self.table: dict[str, RawItem] = {}
        self.stream: list[Change] = []
        self.delivered = 0
        self.letters: list[Change] = []
        self.documents: dict[str, RawItem] = {}
        self.versions: dict[str, int] = {}
        self._meanwhile = list(meanwhile)

    def do(self, step: Step) -> None:
        kind, item, value = step
        key = {"pk": f"k{item}"}
        digest = keys_digest(encode_item(key))
        before = self.table.get(digest)
        match kind:
            case "put":
                self.table[digest] = encode_item({**key, "n": value})
                self._record(key, before, {"n": value})
            case "delete" if before is not None:
                del self.table[digest]
                self._record(key, before, None)
            case "deliver" | "reject" if self.delivered < len(self.stream):
                one = self.stream[self.delivered]
                self.delivered += 1
                if kind == "reject":
                    self.letters.append(one)
                else:
                    self.apply(one)
            case "forget":
                self.versions = {key: version for key, version in self.versions.items() if key in self.documents}
            case "redrive" if self.letters:
                self.redrive(self.letters[value % len(self.letters)])

    def _record(self, key: dict[str, Any], before: RawItem | None, after: dict[str, Any] | None) -> None:
        old = None if before is None else {"n": int(before["n"]["N"])}
        self.stream.append(change(key, old, after, sequence=len(self.stream) + 1))

    def apply(self, one: Change) -> Outcome:
        key = one.identity.digest
        if self.versions.get(key, -1) > one.version:
            return Superseded()
        self.versions[key] = one.version
        if one.operation is Operation.REMOVE:
            self.documents.pop(key, None)
        else:
            assert one.raw_after is not None
            self.documents[key] = one.raw_after
        return Applied()

    def redrive(self, letter: Change) -> None:
        sink = WriteLatestState(self, self, lambda _stream: None)
        (outcome,) = sink.write([letter], Deadline.after(60))
        if settled(outcome):
            self.letters.remove(letter)

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        found = [self.table.get(keys_digest(key)) for key in keys]
        self._others_go_on()
        return found

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        outcomes = [self.apply(one) for one in changes]
        self._others_go_on()
        return outcomes

    def _others_go_on(self) -> None:
        for _ in range(min(4, len(self._meanwhile))):
            self.do(self._meanwhile.pop())

    def flush(self, deadline: Deadline) -> None: ...

    def close(self) -> None: ...


def finished(world: World) -> World:
    """Deliver the rest of the stream, and redrive every letter."""
    while world.delivered < len(world.stream) or world.letters:
        world.do(("deliver", 0, 0))
        if world.letters:
            world.redrive(world.letters[0])
    return world


@settings(max_examples=500)
@given(plans, meanwhiles)
def test_the_index_ends_as_the_table_is(plan: list[Step], meanwhile: list[Step]) -> None:
    world = World(meanwhile)
    for step in plan:
        world.do(step)
    finished(world)
    assert world.documents == world.table


def test_without_the_second_read_a_deleted_item_comes_back() -> None:
    """The property has teeth: this is the order of things that it has to survive."""
    world = World([("forget", 0, 0), ("deliver", 0, 0), ("delete", 0, 0)])
    world.do(("put", 0, 1))
    world.do(("reject", 0, 0))
    (letter,) = world.letters
    keys = letter.raw_keys
    (seen,) = world.read("shop", [keys], Deadline.after(1))
    assert seen is not None
    world._others_go_on()
    world.apply(replace(letter, images=ParsedImages(keys, letter.raw_before, seen)))
    assert (world.table, len(world.documents)) == ({}, 1)
    world.redrive(letter)
    assert world.documents == world.table
