"""A filter of the event source mapping never keeps back a record that the mappings make something of.

`lets_through` is a plain reading of Lambda's filter rules: fields are reached through arrays, a leaf matches if one of
its tests does, and a field that is asked for has to be there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import DocumentRule, TableMapping
from cdc.records.attributes import encode_item
from cdc.records.change import Change
from cdc.records.decoding import changes_from_lambda
from consumers.aws_lambda.event_filters import (
    MAX_FILTERS,
    MAX_PATTERN_LETTERS,
    Filters,
    filters_of_kinesis,
    filters_of_stream,
)
from consumers.cli.main import app
from tests.properties.test_pattern import ITEMS, PATTERNS

KEYS = ("pk", "sk")
VIEWS = ("NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY")
STREAM = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123"


def lets_through(found: Filters, record: Mapping[str, Any]) -> bool:
    criteria = found.criteria()["Filters"]
    assert len(criteria) <= MAX_FILTERS
    return not criteria or any(_object(json.loads(one["Pattern"]), [record]) for one in criteria)


def _object(pattern: Mapping[str, Any], places: list[Any]) -> bool:
    for name, inner in pattern.items():
        assert name != "$or", "Amazon's own engine errs in it"
        below = [value for place in places for value in _field(place, name)]
        if not (_object(inner, below) if isinstance(inner, dict) else _leaf(inner, below)):
            return False
    return True


def _field(place: Any, name: str) -> Iterator[Any]:
    if isinstance(place, list):
        for member in place:
            yield from _field(member, name)
    elif isinstance(place, dict) and name in place:
        yield from place[name] if isinstance(place[name], list) else [place[name]]


def _leaf(tests: list[Any], values: list[Any]) -> bool:
    scalars = [value for value in values if not isinstance(value, dict | list)]
    return any(not scalars if test == {"exists": False} else any(_test(test, one) for one in scalars) for test in tests)


def _test(test: Any, value: Any) -> bool:
    match test:
        case {"prefix": part}:
            return isinstance(value, str) and value.startswith(part)
        case {"suffix": part}:
            return isinstance(value, str) and value.endswith(part)
        case {"anything-but": excluded}:
            return value not in excluded
        case str():
            return bool(value == test)
    raise AssertionError(f"this is no test of Lambda's: {test}")


def record(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, view: str = VIEWS[0], table: str = "shop"
) -> dict[str, Any]:
    name = "INSERT" if before is None else "REMOVE" if after is None else "MODIFY"
    keys = {key: (after or before or {})[key] for key in KEYS}
    data: dict[str, Any] = {
        "ApproximateCreationDateTime": 1768469400.0,
        "Keys": encode_item(keys),
        "SequenceNumber": "6200000000002513011398",
        "SizeBytes": 100,
        "StreamViewType": view,
    }
    if before is not None and view in ("NEW_AND_OLD_IMAGES", "OLD_IMAGE"):
        data["OldImage"] = encode_item(before)
    if after is not None and view in ("NEW_AND_OLD_IMAGES", "NEW_IMAGE"):
        data["NewImage"] = encode_item(after)
    arn = STREAM.replace("shop", table)
    return {"eventID": "1", "eventName": name, "eventSource": "aws:dynamodb", "eventSourceARN": arn, "dynamodb": data}


def kinesis_record(one: Mapping[str, Any], table: str = "shop") -> dict[str, Any]:
    """A record as Lambda's filter looks at it: the data decoded."""
    data = {name: value for name, value in one["dynamodb"].items() if name not in ("SequenceNumber", "StreamViewType")}
    return {"partitionKey": "x", "data": {"tableName": table, "eventName": one["eventName"], "dynamodb": data}}


def change_of(one: Mapping[str, Any]) -> Change:
    (change,) = changes_from_lambda({"Records": [one]})
    return change


def mapping(*wheres: Mapping[str, Any], table: str = "shop", archive: bool = False) -> TableMapping:
    documents = tuple(DocumentRule(index=f"i{position}", where=dict(where)) for position, where in enumerate(wheres))
    return TableMapping(table, documents, archive=archive, source="shop.yml")


WORDS = st.sampled_from(["x", "xy", "XY", "yx"])
IMAGES = st.builds(lambda item, pk, sk: {**item, "pk": pk, "sk": sk}, ITEMS, WORDS, WORDS | st.sampled_from([1, 2]))


def named_keys(pattern: Any) -> Any:
    """Some patterns of the keys too."""
    if isinstance(pattern, dict):
        return {{"b": "sk"}.get(name, name): named_keys(inner) for name, inner in pattern.items()}
    return [named_keys(inner) for inner in pattern] if isinstance(pattern, list) else pattern


SAYABLE_TESTS = (
    WORDS
    | st.integers(0, 2)
    | st.builds(lambda word: {"prefix": word}, WORDS)
    | st.builds(lambda word: {"suffix": word}, WORDS)
    | st.sampled_from([{"wildcard": pattern} for pattern in ("x*", "*y", "x*y", r"\*x*", "xy")])
    | st.builds(lambda words: {"anything-but": words}, st.lists(WORDS, min_size=1, max_size=2))
    | st.just({"exists": False})
)
SAYABLE: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(
        st.sampled_from(["a", "c", "sk", "a.b", "c.a.b"]),
        st.lists(SAYABLE_TESTS, min_size=1, max_size=2),
        min_size=1,
        max_size=2,
    ),
    lambda inner: (
        st.dictionaries(st.sampled_from(["a", "c"]), inner, min_size=1, max_size=2)
        | st.builds(lambda branches: {"$or": branches}, st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=3,
)
WHERES = st.lists(SAYABLE, min_size=1, max_size=3) | st.lists(
    SAYABLE | PATTERNS | PATTERNS.map(named_keys), min_size=1, max_size=3
)


@st.composite
def changes_of_items(draw: st.DrawFn) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    after = draw(IMAGES)
    before = draw(st.none() | st.just(after) | IMAGES.map(lambda item: {**item, "pk": after["pk"], "sk": after["sk"]}))
    return (before, None) if before is not None and draw(st.booleans()) else (before, after)


@given(
    WHERES,
    changes_of_items(),
    st.sampled_from(VIEWS),
    st.sampled_from([KEYS, ("pk",), ("pk", "sk", "a"), ()]),
)
@example([{"a": ["x"], "sk": ["xy"]}], ({"pk": "x", "sk": "x"}, {"pk": "x", "sk": "x"}), "NEW_IMAGE", ("pk", "sk", "a"))
def test_what_a_document_is_made_or_removed_for_is_let_through_whatever_the_view_and_whatever_keys_are_named(
    wheres: list[dict[str, Any]], images: tuple[Any, Any], view: str, keys: tuple[str, ...]
) -> None:
    """A change without the new image is read back from the table: what the item is by then, nobody knows here."""
    asked, one = mapping(*wheres), record(*images, view)
    change = change_of(one)
    if change.raw_after is None and images[1] is not None:
        # any condition on what is no key may hold by then
        change = change_of(record(*images, "NEW_AND_OLD_IMAGES"))
    if compile_mapping(asked, "shop").writes(change):
        assert lets_through(filters_of_stream(asked, keys), one)


@given(WHERES, changes_of_items(), st.booleans())
def test_it_is_so_for_kinesis_too(wheres: list[dict[str, Any]], images: tuple[Any, Any], alone: bool) -> None:
    asked, one = mapping(*wheres), record(*images)
    others = [] if alone else [mapping({"pk": ["nothing"]}, table="other")]
    if compile_mapping(asked, "shop").writes(change_of(one)):
        assert lets_through(filters_of_kinesis([asked, *others], KEYS), kinesis_record(one))


# What is kept back


ORDERS = {"sk": [{"prefix": "ORDER#"}]}


def item(sk: str, **attributes: Any) -> dict[str, Any]:
    return {"pk": "1", "sk": sk, **attributes}


def test_a_condition_on_keys_is_one_on_keys() -> None:
    found = filters_of_stream(mapping(ORDERS), KEYS)
    assert found.patterns == ({"dynamodb": {"Keys": {"sk": {"S": [{"prefix": "ORDER#"}, {"exists": False}]}}}},)
    assert lets_through(found, record(item("ORDER#1"), None, "KEYS_ONLY"))
    assert not lets_through(found, record(item("LINE#1"), None, "KEYS_ONLY"))


def test_an_item_that_comes_or_leaves_is_let_through_and_one_that_stays_outside_is_not() -> None:
    found = filters_of_stream(mapping({"status": ["open"]}), KEYS)
    opened, closed = item("1", status="open"), item("1", status="closed")
    assert lets_through(found, record(None, opened))
    assert lets_through(found, record(opened, closed))
    assert lets_through(found, record(closed, opened))
    assert lets_through(found, record(opened, None))
    assert not lets_through(found, record(None, closed))
    assert not lets_through(found, record(closed, closed))
    assert not lets_through(found, record(closed, None))


def test_a_list_that_holds_the_value_is_let_through() -> None:
    found = filters_of_stream(mapping({"tags": ["gift"]}), KEYS)
    assert lets_through(found, record(None, item("1", tags=["blue", "gift"])))
    assert lets_through(found, record(None, item("1", tags=frozenset({"gift"}))))


@pytest.mark.parametrize(
    "unsayable",
    [
        {},
        {"total": [{"exists": True}]},
        {"name": [{"equals-ignore-case": "straße"}]},
        {"name": [{"prefix": ""}]},
        {"name": [{"anything-but": [1]}]},
        {r"a\.b": ["x"]},
        {"name": [{"wildcard": "*x*"}]},
        {"name": [{"cidr": "10.0.0.0/24"}]},
        {"name": [{"prefix": {"equals-ignore-case": "x"}}]},
        {"name": [{"anything-but": {"prefix": ["x"]}}]},
        {"name": [{"anything-but": {"wildcard": "x*"}}]},
        {"$or": [{"name": ["x"]}, {"total": [{"exists": True}]}]},
    ],
    ids=str,
)
def test_what_a_filter_cannot_say_is_left_out_of_it(unsayable: dict[str, Any]) -> None:
    assert not filters_of_stream(mapping(unsayable), KEYS).patterns
    assert filters_of_stream(mapping({**unsayable, **ORDERS}), KEYS).patterns


def test_a_dotted_name_is_a_step_into_a_map_for_a_filter_too() -> None:
    found = filters_of_stream(mapping({"address.city": ["Bern"], "address": {"zip": ["3000"]}}), KEYS)
    assert lets_through(found, record(None, item("1", address={"city": "Bern", "zip": "3000"})))
    assert not lets_through(found, record(None, item("1", address={"city": "Basel", "zip": "3000"})))
    assert not lets_through(found, record(None, item("1", address={"city": "Bern", "zip": "4000"})))
    assert lets_through(found, record(None, item("1", address=[{"city": "Basel"}])))


def test_of_a_wildcard_a_filter_has_its_first_or_its_last_text() -> None:
    (pattern, _) = filters_of_stream(mapping({"name": [{"wildcard": "a*b"}, {"wildcard": r"*\*c"}]}), KEYS).patterns
    assert pattern["dynamodb"]["NewImage"]["name"]["S"] == [{"prefix": "a"}, {"suffix": "*c"}, {"exists": False}]


def test_numbers_are_never_compared_since_the_stream_writes_them_as_texts() -> None:
    found = filters_of_stream(mapping({"total": [{"numeric": [">", 5]}, 3]}), KEYS)
    assert "numeric" not in str(found.texts())
    assert lets_through(found, record(None, item("1", total=1)))
    assert not lets_through(found, record(None, item("1", total="a text")))


def test_the_archive_wants_every_change_of_a_table_that_the_mapping_does_not_exempt() -> None:
    asked = mapping(ORDERS, archive=True)
    assert not filters_of_stream(asked, KEYS).patterns
    assert "archive" in filters_of_stream(asked, KEYS).reason
    assert filters_of_stream(asked, KEYS, archive=False).patterns


def test_records_of_a_table_that_no_mapping_names_come_through_kinesis_so_that_the_function_can_say_so() -> None:
    found = filters_of_kinesis([mapping(ORDERS), mapping(ORDERS, table="other")], KEYS)
    line = record(None, item("LINE#1"))
    assert not lets_through(found, kinesis_record(line))
    assert not lets_through(found, kinesis_record(line, "other"))
    assert lets_through(found, kinesis_record(line, "third"))


def test_a_table_whose_every_change_is_wanted_does_not_open_the_filters_of_another() -> None:
    found = filters_of_kinesis([mapping(ORDERS), mapping({}, table="other")], KEYS)
    assert lets_through(found, kinesis_record(record(None, item("LINE#1")), "other"))
    assert not lets_through(found, kinesis_record(record(None, item("LINE#1"))))


def test_documents_that_differ_in_one_key_are_one_filter() -> None:
    found = filters_of_stream(mapping(*({"sk": [f"{letter}#"]} for letter in "ABCDEFG")), KEYS)
    (pattern,) = found.patterns
    assert pattern["dynamodb"]["Keys"]["sk"]["S"] == [*(f"{letter}#" for letter in "ABCDEFG"), {"exists": False}]


def test_more_filters_than_lambda_takes_become_conditions_on_keys_alone() -> None:
    found = filters_of_stream(mapping(*({"sk": [f"{letter}#"], "status": ["open"]} for letter in "ABC")), KEYS)
    assert len(found.patterns) == 3
    assert lets_through(found, record(None, item("A#", status="closed")))
    assert not lets_through(found, record(None, item("D#", status="open")))


def test_what_can_be_said_neither_way_is_no_filter() -> None:
    found = filters_of_stream(mapping(*({"status": [letter]} for letter in "ABC")), KEYS)
    assert not found.patterns
    assert "6 filters" in found.reason
    long = filters_of_stream(mapping({"sk": [f"{position:04}" for position in range(MAX_PATTERN_LETTERS // 6)]}), KEYS)
    assert not long.patterns
    assert str(MAX_PATTERN_LETTERS) in long.reason


def test_a_pattern_survives_a_command_line_that_takes_backslashes_away() -> None:
    awkward = "say \"hi\" \\ to 'all'"
    (text,) = filters_of_stream(mapping({"sk": [awkward]}), KEYS).texts()
    assert json.loads(text)["dynamodb"]["Keys"]["sk"]["S"][0] == awkward
    assert not any(taken in text for taken in ('\\"', "\\'", "\\ "))


def test_branches_are_filters_of_their_own() -> None:
    found = filters_of_stream(mapping({"pk": ["1"], "$or": [{"sk": ["A"]}, {"sk": ["B"]}]}), KEYS)
    assert [pattern["dynamodb"]["Keys"]["sk"]["S"][0] for pattern in found.patterns] == ["A", "B"]


# The command


MAPPING = """
table: shop
archive: false
documents:
  - index: orders
    where:
      sk: [{prefix: "ORDER#"}]
"""


def printed(*arguments: Any) -> Any:
    result = CliRunner().invoke(app, ["mappings", "filters", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_prints_filter_criteria(tmp_path: Any) -> None:
    file = tmp_path / "shop.yml"
    file.write_text(MAPPING)
    (one,) = printed(file)["Filters"]
    (pattern,) = filters_of_stream(parse_mapping(MAPPING, source="shop.yml"), KEYS).patterns
    assert json.loads(one["Pattern"]) == pattern
    assert printed(file, "--functions") == {"Filters": []}
    assert printed(file, "--parameters") == {
        "FilterPattern1": one["Pattern"],
        **{f"FilterPattern{number}": "" for number in range(2, MAX_FILTERS + 1)},
    }
    assert "tableName" in printed(file, "--kinesis")["Filters"][0]["Pattern"]


def test_the_command_says_why_there_is_no_filter(tmp_path: Any) -> None:
    file = tmp_path / "shop.yml"
    file.write_text(MAPPING.replace("archive: false", "archive: true"))
    result = CliRunner().invoke(app, ["mappings", "filters", str(file)])
    assert json.loads(result.stdout) == {"Filters": []}
    assert "the archive keeps every change" in result.stderr
    assert printed(file, "--no-archive")["Filters"]


def test_the_command_wants_the_one_mapping_of_a_dynamodb_stream(tmp_path: Any) -> None:
    for table in ("shop", "other"):
        (tmp_path / f"{table}.yml").write_text(MAPPING.replace("shop", table).replace("orders", table))
    result = CliRunner().invoke(app, ["mappings", "filters", str(tmp_path)])
    assert "a DynamoDB stream is of one table" in str(result.exception)
    assert printed(tmp_path, "--kinesis")["Filters"]
