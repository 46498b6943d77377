"""The core and the reference: of each record the core says what the reference says, or leaves it to the reference."""

from __future__ import annotations

import os
import random
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.shapes import STREAM
from cdc.archive import archived_of
from cdc.core import Core, load_core
from cdc.errors import ImageMissing, MalformedRecord
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.mappings.writes import Put, Write
from cdc.outcome import Rejected
from cdc.records.attributes import encode_item, encode_value
from cdc.records.change import Change
from cdc.records.decoding import (
    Record,
    Unreadable,
    change_from_stream_record,
    read_adapter,
    read_kinesis,
    size_bytes_of,
)
from cdc.records.reading import RecordReader
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.testing.changes import stream_record
from local.demo.traffic import order_items, profile_item
from tests.events import payload
from tests.strategies import items, names, values

if TYPE_CHECKING:
    from cdc._core import Facts

core_or_none = load_core()
if core_or_none is None:
    pytest.skip("this installation has no core: `make core` builds it", allow_module_level=True)
CORE: Core = core_or_none

KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"
MAPPINGS = [
    "documents: [{index: orders}]",
    "documents: [{index: orders, id: [sk, pk], routing: pk, on_remove: tombstone}]",
    "documents: [{index: orders, fields: {include: [a, m.x, pk, m]}, on_remove: keep, on_expiry: tombstone}]",
    "documents: [{index: orders, fields: {exclude: [a, m.x, S], rename: {n: number, m.y: why}}}]",
    "documents: [{index: orders, unless_only: [n, m.x]}, {index: all, id: ['{table}', pk, sk], on_unfit: dead_letter}]",
    """documents:
      - {index: a, where: {kind: [{prefix: A}]}}
      - {index: a, where: {kind: [{anything-but: [B, 1]}], n: [{numeric: ['>', 0, '<=', 5.5]}, {exists: false}]}}
      - {index: b, where: {m.x: [1, null, true], $or: [{a: [{wildcard: "*b*"}]}, {a: [{suffix: c}, {exists: false}]}]}}
      - {index: b, where: {pk: [{prefix: k}]}}""",
]


def compiled(number: int) -> CompiledMapping:
    mapping = parse_mapping(f"table: shop\n{MAPPINGS[number]}", source="shop.yml")
    return compile_mapping(mapping, "shop", ["pk", "sk"])


COMPILED = [compiled(number) for number in range(len(MAPPINGS))]
EXCLUDED = [(), (("a",), ("m", "x"), ("pk",))]


def readings(given: bytes, wire: str) -> Iterator[tuple[Record, Record]]:
    """The record as the core reads it, where it does, and as the reference reads it."""
    if wire == "adapter":
        pairs = [RecordReader(core).adapter([given], STREAM) for core in (CORE, None)]
    elif wire == "kinesis":
        number = SequenceNumber.parse("49590338271490256608559692538361571095921575989136588898", KINESIS_DIGITS)
        pairs = [RecordReader(core).kinesis([given], KINESIS, [number]) for core in (CORE, None)]
    else:
        event = {"Records": [orjson.loads(given)]}
        pairs = [list(RecordReader(core).lambda_event(event)) for core in (CORE, None)]
    yield from zip(*pairs, strict=True)


def agrees(by_core: Record, by_reference: Record) -> bool:
    """Is the record the core's? All that it says of it is what the reference says."""
    if isinstance(by_reference, Unreadable):
        assert isinstance(by_core, Unreadable)
        assert replace(by_core, error=by_reference.error) == by_reference
        assert (str(by_core.error), by_core.error.path) == (str(by_reference.error), by_reference.error.path)
        return False
    assert isinstance(by_core, Change)
    facts = [name for name in Change.__struct_fields__ if name != "images"]
    assert [getattr(by_core, name) for name in facts] == [getattr(by_reference, name) for name in facts]
    if by_core.core is None:
        return False
    assert (by_core.has_before, by_core.has_after) == (by_reference.has_before, by_reference.has_after)
    assert size_bytes_of(by_core) == size_bytes_of(by_reference)
    for mapping in COMPILED:
        assert writes(mapping, by_core) == writes(mapping, by_reference)
    for exclude in EXCLUDED:
        assert archived_of(by_core, exclude) == archived_of(by_reference, exclude)
    for name in ("keys", "before", "after"):
        assert repr(sorted_sets(getattr(by_core, name))) == repr(sorted_sets(getattr(by_reference, name)))
    if by_core.view.has_new_image and by_core.view.has_old_image and by_core.has_before and by_core.has_after:
        mine, theirs = list(by_core.differences().items()), list(by_reference.differences().items())
        assert mine == theirs
        assert list(by_core.changed_paths()) == list(by_reference.changed_paths())
    assert by_core == by_reference
    assert by_core.record == by_reference.record
    return True


def writes(mapping: CompiledMapping, change: Change) -> object:
    """The writes that the mapping makes of the change, or why it makes none."""
    try:
        made = mapping.writes(change)
    except ImageMissing as error:
        return str(error)
    has_time = change.created_micros is not None  # without one a tombstone has the time of its making
    return [write for write in made if isinstance(write, Rejected) or has_time or not is_tombstone(write)]


def is_tombstone(write: Write) -> bool:
    return isinstance(write, Put) and TOMBSTONE_FIELD.encode() in write.source


def sorted_sets(value: Any) -> Any:
    match value:
        case frozenset():
            return "set", sorted(value)
        case dict():
            return {name: sorted_sets(inner) for name, inner in value.items()}
        case list():
            return [sorted_sets(inner) for inner in value]
    return value


plain_names = st.sampled_from(["a", "m", "n", "kind", "S", "_id", "_cdc_unfit", "x", ""]) | names
maps = st.dictionaries(st.sampled_from(["x", "y", "why"]), values, max_size=3)
item_values = st.one_of(values, maps, st.integers(-3, 9), st.sampled_from(["A", "B", "abc", "b"]))
more_items = st.dictionaries(plain_names, item_values, max_size=6)


@st.composite
def records(draw: st.DrawFn) -> tuple[bytes, str]:
    """A record's bytes, and the wire format that they are of."""
    before = draw(more_items | items)
    after = dict(before)
    for _ in range(draw(st.integers(0, 3))):
        after[draw(plain_names)] = draw(item_values)
    for name in draw(st.sets(st.sampled_from(sorted(after)), max_size=2)) if after else ():
        del after[name]
    if draw(st.booleans()):
        order = draw(st.permutations(list(after.items())))
        after = dict(order)
    keys = {"pk": draw(st.text(max_size=5) | st.integers(-(10**37), 10**37)), "sk": draw(st.binary(max_size=4))}
    operation = draw(st.sampled_from(["INSERT", "MODIFY", "MODIFY", "REMOVE"]))
    view = draw(st.sampled_from(["NEW_AND_OLD_IMAGES"] * 4 + ["NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"]))
    wire = draw(st.sampled_from(["adapter", "lambda", "kinesis"]))
    images = {}
    if operation != "INSERT" and view in ("NEW_AND_OLD_IMAGES", "OLD_IMAGE"):
        images["OldImage"] = encode_item({**keys, **before})
    if operation != "REMOVE" and view in ("NEW_AND_OLD_IMAGES", "NEW_IMAGE"):
        images["NewImage"] = encode_item({**keys, **after})
    if wire == "adapter":
        images = {"OldImage": {}, "NewImage": {}} | images
    facts: dict[str, Any] = {"Keys": {name: encode_value(key) for name, key in keys.items()}}
    facts |= dict(draw(st.permutations(list(images.items()))))
    facts["SizeBytes"] = draw(st.integers(0, 400_000))
    micros = draw(st.integers(0, 2_500_000_000_000_000))
    record: dict[str, Any] = {"eventID": draw(st.sampled_from(["", "ab"])), "eventName": operation, "dynamodb": facts}
    if wire == "kinesis":
        record |= {"tableName": draw(st.sampled_from(["shop", "other"])), "userIdentity": None}
        facts["ApproximateCreationDateTime"] = micros if draw(st.booleans()) else micros // 1000
        if facts["ApproximateCreationDateTime"] == micros:
            facts["ApproximateCreationDateTimePrecision"] = "MICROSECOND"
    else:
        facts |= {"SequenceNumber": draw(st.integers(1, 10**39)).__str__(), "StreamViewType": view}
        created = micros // 1000 if wire == "adapter" else float(micros // 1_000_000)
        facts["ApproximateCreationDateTime"] = draw(st.sampled_from([created, None]))
        record |= {"eventSource": "aws:dynamodb", "eventSourceARN": STREAM.arn}
    if draw(st.booleans()) and draw(st.booleans()):
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return orjson.dumps(record), wire


@given(records())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_core_says_what_the_reference_says(drawn: tuple[bytes, str]) -> None:
    for by_core, by_reference in readings(*drawn):
        agrees(by_core, by_reference)


def recorded() -> Iterator[tuple[bytes, str]]:
    """The records of `tests/events`, and of the demo's items, each put, changed and removed."""
    yield orjson.dumps(payload("kcl-record")), "adapter"
    yield orjson.dumps(payload("kinesis-record")), "kinesis"
    for record in payload("lambda-kinesis")["Records"]:
        yield orjson.dumps(orjson.loads(b64decode(record["kinesis"]["data"]))), "kinesis"
    for name in ("lambda-dynamodb", "lambda-dynamodb-views"):
        for record in payload(name)["Records"]:
            yield orjson.dumps(record), "lambda"
    chance = random.Random(1)  # noqa: S311  (the same items at every run)
    for number in range(100):
        customer = f"CUSTOMER#{number}"
        for item in (*order_items(chance, customer, f"ORDER#{number}"), profile_item(chance, customer)):
            keys = {name: item[name] for name in ("pk", "sk")}
            changed = {**item, "status": "paid", "n": number}
            for before, after in ((None, item), (item, changed), (changed, None)):
                yield orjson.dumps(stream_record(keys, before, after, sequence=number + 1)), "lambda"


def test_ordinary_records_are_the_cores() -> None:
    taken = [agrees(*pair) for one in recorded() for pair in readings(*one)]
    whole = [record for one in recorded() for record, _ in readings(*one) if isinstance(record, Change)]
    for change in whole:
        writes(COMPILED[0], change)
        archived_of(change)
    reader = RecordReader(CORE)
    assert taken.count(True) >= 0.99 * len(taken)
    assert reader.left(whole) <= 0.01 * len(whole)


FUZZED = int(os.environ.get("FUZZED", "200000"))
"""So many mutated records are tried in a run."""
_SNIPPETS = [bytes([byte]) for byte in b'{}[]",:\\0189eE+-.tnu /A='] + [
    *(b'{"N":"1"}', b'{"S":""}', b'"NewImage":{},', b'"a":{"S":"1"},', b"null", b"\\u0000", b"\xff", b'"pk"', b"1.0"),
    *(b'"Keys":{"pk":{"S":"2"}},', b'{"NULL":false}', b'{"M":{}}', b"9" * 45, b"E+200"),
]


def mutated(chance: random.Random, original: bytes) -> bytes:
    """The record with some of its bytes changed, taken out, put in twice or put elsewhere."""
    found = bytearray(original)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(found) + 1)
        end = min(len(found), at + chance.choice((0, 1, 1, 2, 9, 40)))
        match chance.randrange(4):
            case 0:
                found[at:end] = chance.choice(_SNIPPETS)
            case 1:
                found[at:at] = found[at:end]
            case 2:
                to = chance.randrange(len(found) + 1)
                found[to:to] = found[at:end]
            case _:
                members = [one.start() for one in re.finditer(rb'"[^"]{0,12}":\{"[A-Z]{1,4}":[^{}]*\},?', found)]
                start = chance.choice(members) if members else at
                member = re.match(rb'"[^"]{0,12}":\{"[A-Z]{1,4}":[^{}]*\},?', found[start:])
                to = chance.choice(members) if members else at
                found[to:to] = member[0] if member else b""
    return bytes(found)


def test_no_mutated_record_is_read_otherwise_than_by_the_reference() -> None:
    """In batches, as the core reads them: a record that is left half-read must not show in another."""
    chance = random.Random(int(os.environ.get("FUZZ_SEED", date.today().toordinal())))  # noqa: S311, DTZ011
    originals = [one for one in recorded() if len(one[0]) < 2000]
    compiled, taken = COMPILED[1], 0
    for _ in range(0, FUZZED, 500):
        wire = chance.choice(["lambda", "adapter", "kinesis"])
        chosen = [chance.choice(originals) for _ in range(50)]
        given = [mutated(chance, original) for original, _ in chosen for _ in range(10)]
        number = SequenceNumber("1", 1)
        for one, facts in zip(given, CORE.read(given, wire), strict=True):
            if facts is None:
                continue
            taken += 1
            by_core = change_of(facts, one, wire, number)
            by_reference = read_alone(one, wire, number)
            assert isinstance(by_core, Change)
            assert isinstance(by_reference, Change), one
            assert by_core == by_reference, one
            assert writes(compiled, by_core) == writes(compiled, by_reference), one
            assert archived_of(by_core) == archived_of(by_reference), one
    assert taken > FUZZED / 20, taken


def read_alone(given: bytes, wire: str, number: SequenceNumber) -> Record:
    if wire == "kinesis":
        return read_kinesis(given, KINESIS, number)
    if wire == "adapter":
        return read_adapter(given, STREAM)
    try:
        return change_from_stream_record(orjson.loads(given), STREAM)
    except (MalformedRecord, orjson.JSONDecodeError) as error:
        return Unreadable(given, MalformedRecord(str(error)), None, "")


def change_of(facts: Facts, given: bytes, wire: str, number: SequenceNumber) -> Record:
    """The change of these facts, as the readers make it."""
    only = CoreSaying(facts)
    if wire == "kinesis":
        return RecordReader(only).kinesis([given], KINESIS, [number])[0]
    if wire == "adapter":
        return RecordReader(only).adapter([given], STREAM)[0]
    record = {**orjson.loads(given), "eventSource": "aws:dynamodb", "eventSourceARN": STREAM.arn}
    return RecordReader(only).lambda_event({"Records": [record]})[0]


@dataclass(frozen=True)
class CoreSaying:
    """A core that has read one record."""

    facts: Facts

    def read(self, payloads: list[bytes], wire: str) -> list[Facts | None]:
        return [self.facts]
