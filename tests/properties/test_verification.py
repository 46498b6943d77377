"""Laws of verifications: digests of contents, ids and their keys, the spool."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.mappings.document_id import document_id, id_parts, key_of_text, key_text
from cdc.records.attributes import RawItem, encode_item, json_item
from cdc.records.identity import keys_digest
from cdc.verification.content import content_digest
from cdc.verification.expected import Expectations
from cdc.verification.keys import KeysOfDocuments
from cdc.verification.spool import NO_CONTENT, Pair, Spool, packed, place_of
from tests.strategies import items as plain_items
from tests.verifying import World, compiled_of

numbers = st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
    lambda number: len(number.as_tuple().digits) <= 38 and -120 < number.adjusted() < 120
)
raw_items = plain_items.map(encode_item)


def notations(number: Decimal) -> list[str]:
    """Ways to write one number as JSON."""
    sign, digits, exponent = number.as_tuple()
    text = ("-" if sign else "") + "".join(map(str, digits))
    plain = f"{number:f}"
    written = [plain, f"{text}E{int(exponent):+d}", f"{text}.0E{exponent}"]
    return written if not number else [*written, f"{text}0e{int(exponent) - 1}"]


@given(numbers)
@example(Decimal("1E+2"))
@example(Decimal("-0.0"))
@example(Decimal(12345678901234567890123456789012345678))
def test_a_number_is_the_same_however_it_is_written(number: Decimal) -> None:
    digests = {content_digest(f'{{"n":{text}}}'.encode()) for text in notations(number)}
    assert len(digests) == 1


@given(numbers, numbers)
@example(Decimal(12345678901234567890123456789012345678), Decimal(12345678901234567890123456789012345679))
@example(Decimal("0.1"), Decimal("0.10000000000000000000000000000000000001"))
def test_other_numbers_are_other_contents(one: Decimal, other: Decimal) -> None:
    digests = [content_digest(f'{{"n":{number:E}}}'.encode()) for number in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)


def test_a_number_and_its_text_are_two_contents() -> None:
    assert content_digest(b'{"n":1.5}') != content_digest(b'{"n":"1.5"}')


@given(raw_items, st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_count(item: RawItem, chance: random.Random) -> None:
    source = orjson.dumps(json_item(item))
    assert content_digest(orjson.dumps(json_item(_shuffled(item, chance)))) == content_digest(source)


def _shuffled(item: RawItem, chance: random.Random) -> RawItem:
    names = list(item)
    chance.shuffle(names)
    return {name: {"M": _shuffled(item[name]["M"], chance)} if "M" in item[name] else item[name] for name in names}


@given(raw_items, st.randoms(use_true_random=False))
def test_what_was_set_aside_is_back_in_its_place(item: RawItem, chance: random.Random) -> None:
    document = json_item(item)
    aside = {name: value for name, value in document.items() if chance.random() < 0.5}
    kept = {name: value for name, value in document.items() if name not in aside}
    parted = {**kept, "_cdc_aside": aside, "_cdc_aside_names": sorted(aside)}
    assert content_digest(orjson.dumps(parted)) == content_digest(orjson.dumps(document))


def test_fields_that_may_lag_do_not_count() -> None:
    ignored = [("seen",), ("address", "checked")]
    one = b'{"total":1,"seen":1,"address":{"city":"Bern","checked":1}}'
    other = b'{"total":1,"address":{"city":"Bern","checked":2}}'
    assert content_digest(one, ignored) == content_digest(other, ignored)
    assert content_digest(one) != content_digest(other)


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_an_id_tells_its_parts_unless_it_is_a_digest(parts: list[str]) -> None:
    try:
        identifier = document_id(parts)
    except UnicodeEncodeError:
        return
    found = id_parts(identifier, len(parts))
    assert found == tuple(parts) or (found != tuple(parts) and identifier.startswith("sha256:"))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
keys = st.one_of(
    texts.map(lambda text: {"S": text}),
    numbers.map(lambda number: {"N": str(number)}),
    st.binary(min_size=1, max_size=20).map(lambda content: {"B": b64encode(content).decode()}),
)


@given(keys)
def test_a_key_is_told_by_its_text(key: dict[str, str]) -> None:
    ((tag, _),) = key.items()
    found = key_of_text(key_text(key), tag)
    assert found is not None
    assert keys_digest({"pk": found}) == keys_digest({"pk": key})


@given(keys, keys, st.sampled_from(["[{index: orders}]", '[{index: orders, id: ["{table}", sk, pk]}]']))
def test_a_document_s_id_tells_the_keys_of_its_item(pk: Any, sk: Any, documents: str) -> None:
    item = {"pk": pk, "sk": sk, "total": {"N": "1"}}
    found = _keys_of(documents, item, lambda finder, put: finder.of_id("orders", put.id))
    assert found is not None
    assert keys_digest(found) == keys_digest({"pk": pk, "sk": sk})


@given(keys, st.sampled_from(["[{index: orders}]", "[{index: orders, fields: {rename: {pk: customer}}}]"]))
def test_a_document_s_fields_tell_the_keys_that_a_digest_hides(sk: Any, documents: str) -> None:
    item = {"pk": {"S": "long" * 200}, "sk": sk}
    found = _keys_of(documents, item, lambda finder, put: finder.of_source("orders", put.id, put.source))
    assert found is not None
    assert keys_digest(found) == keys_digest({"pk": item["pk"], "sk": sk})


def test_a_key_that_where_pins_is_told_by_the_mapping() -> None:
    documents = "[{index: orders, where: {sk: [PROFILE]}, id: [pk]}]"
    item = {"pk": {"S": "a"}, "sk": {"S": "PROFILE"}}
    assert _keys_of(documents, item, lambda finder, put: finder.of_id("orders", put.id)) == item


def _keys_of(documents: str, item: RawItem, find: Callable[[KeysOfDocuments, Any], RawItem | None]) -> RawItem | None:
    expectations = Expectations(compiled_of(documents), World().stream, ("pk", "sk"), 1)
    finder = KeysOfDocuments(expectations)
    finder.learn(item)
    return find(finder, expectations.put("orders", item))


sides = st.dictionaries(st.text("abc", max_size=3), st.integers(0, 2), max_size=30)


@given(sides, sides, st.sampled_from([1, 200, 1 << 20]))
def test_the_spool_tells_all_that_differ_and_nothing_else(ours: Any, theirs: Any, largest: int) -> None:
    with Spool(largest_bucket=largest) as spool:
        spool.add_ours([_entry(name, content, 0) for name, content in ours.items()])
        spool.add_theirs([_entry(name, 3, 0) for name in theirs])  # an earlier read
        spool.add_theirs([_entry(name, content, 1) for name, content in theirs.items()])
        found = sorted(_name(pair) for pair in spool.pairs())
        assert found == sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        assert (spool.ours, spool.theirs) == (len(ours), len(theirs))
        assert spool.equal == sum(theirs.get(name) == content for name, content in ours.items())


def _entry(name: str, content: int, version: int) -> bytes:
    return packed(place_of("orders", name, None), bytes([content + 1] * 8), version, 0, 0, json.dumps(name).encode())


def _name(pair: Pair) -> str:
    entry = pair.ours or pair.theirs
    assert entry is not None
    return str(json.loads(entry.about))


def test_a_side_without_contents_equals_any() -> None:
    with Spool() as spool:
        spool.add_ours([packed(place_of("orders", "a", None), b"contents", 0, 0, 0, b"")])
        spool.add_theirs([packed(place_of("orders", "a", None), NO_CONTENT, 5, 0, 0, b"")])
        assert list(spool.pairs()) == []
