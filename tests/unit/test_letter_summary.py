"""Summaries of dead letters: by reason, field and index, readable at 80 columns, without an item's values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from cdc import Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import letter_of
from cdc.dead_letters.redrive import StillDead
from cdc.sinks.opensearch.refusals import refusal_of
from cdc.testing import change
from consumers.cli.letter_summary import LetterFacts, counts_by_reason, facts_of, kept_lines, summary_lines

SECRET = "4711-secret"
OBJECT = "object mapping for [address] tried to parse field [address] as object, but found a concrete value"
NUMBER = (
    f"failed to parse field [age] of type [long] in document with id '{SECRET}'. Preview of field's value: '{SECRET}'"
)


def detail(reason: str, cause: str = "") -> str:
    error = {"type": "mapper_parsing_exception", "reason": reason}
    return json.dumps(error | ({"caused_by": {"reason": cause}} if cause else {}))


def facts(details: Sequence[str], index: str = "people") -> list[LetterFacts]:
    reason = "OpenSearch: 400 mapper_parsing_exception"
    return [
        facts_of(
            str(n),
            letter_of(
                change({"pk": str(n)}, None, {}, sequence=n + 1),
                Rejected(Cause(reason), text, f"{index}/{SECRET}"),
                "opensearch",
                datetime(2026, 11, 25, 10, 17, n, tzinfo=UTC),
            ),
        )
        for n, text in enumerate(details)
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (detail(OBJECT), "field address: an object in the index, a plain value in the item"),
        (detail("failed to parse", OBJECT), "field address: an object in the index, a plain value in the item"),
        (detail(NUMBER), "field age: the item's value is no long"),
        (
            detail("can't merge a non object mapping [a.b] with an object mapping"),
            "field a.b: objects and plain values meet",
        ),
        (
            detail("mapper [n] cannot be changed from type [long] to [text]"),
            "field n: long in the index, text in the item",
        ),
        (
            detail("mapping set to strict, dynamic introduction of [x] within [_doc] is not allowed"),
            "field x: the index takes no field that its mapping does not name",
        ),
        (detail("Limit of total fields [1000] has been exceeded"), "the index has its limit of 1000 fields"),
        (detail("Field [_id] is a metadata field and cannot") + "\nrename it", "field _id: a name of OpenSearch's own"),
        (detail(f"{SECRET} mapper [n] cannot be changed from type [long] to [text]"), ""),
        (detail(f"a value was: failed to parse field [{SECRET}] of type [long]"), ""),
        ("Traceback …", ""),
        ("[]", ""),
        ("", ""),
    ],
)
def test_a_refusal_names_the_field_and_nothing_of_its_value(text: str, told: str) -> None:
    assert str(refusal_of(text)) == told


def test_letters_are_counted_by_field_and_index_and_not_by_the_exception_alone() -> None:
    found = facts([detail(OBJECT), detail(OBJECT), detail(NUMBER)]) + facts([detail(OBJECT)], index="archive")
    assert [(count["count"], count["field"], count["index"]) for count in counts_by_reason(found)] == [
        (2, "address", "people"),
        (1, "age", "people"),
        (1, "address", "archive"),
    ]


def test_at_80_columns_reason_field_place_and_times_stand_whole() -> None:
    assert summary_lines(facts([detail(OBJECT), detail(OBJECT), detail(NUMBER)]), 80) == [
        "    2  OpenSearch: 400 mapper_parsing_exception",
        "       field address: an object in the index, a plain value in the item",
        "       table shop, index people",
        "       2026-11-25 10:17:00 to 2026-11-25 10:17:01 UTC",
        "    1  OpenSearch: 400 mapper_parsing_exception",
        "       field age: the item's value is no long",
        "       table shop, index people",
        "       2026-11-25 10:17:02 UTC",
    ]


def test_a_long_name_is_not_cut() -> None:
    name = "a" * 100
    (found,) = facts([detail(f"failed to parse field [{name}] of type [date]")], index="i" * 200)
    lines = summary_lines([found], 80)
    assert any(f"{name}:" in line for line in lines)
    assert any("i" * 200 in line for line in lines)


def test_what_a_redrive_keeps_is_one_line_a_cause_and_field() -> None:
    reason = "OpenSearch: 400 mapper_parsing_exception"
    kept = [
        (f"key-{n}", StillDead(f"rejected again: {reason}", rejected=Rejected(Cause(reason), text, f"people/{SECRET}")))
        for n, text in enumerate([detail(NUMBER)] + [detail(OBJECT)] * 64)
    ]
    kept += [(f"late-{n}", StillDead("out of reach\n  → Check the endpoint.", may_pass=True)) for n in range(3)]
    assert kept_lines(kept) == [
        "64 kept: rejected again: OpenSearch: 400 mapper_parsing_exception, index people, "
        "field address: an object in the index, a plain value in the item",
        "3 kept: out of reach → Check the endpoint.",
        "1 kept: rejected again: OpenSearch: 400 mapper_parsing_exception, index people, "
        "field age: the item's value is no long",
        "  → `cdc dead-letters show key-0` prints the first of them whole",
        "  → mend what the reasons say, then redrive again, or discard what is not wanted",
    ]
