"""`cdc mappings aside` on the real OpenSearch: names, counts, an example, and a home that works."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cdc import Applied
from consumers.cli.main import app
from tests.contract.test_shapes import item, sink_on, written


def shown(index: str, *options: str) -> str:
    result = CliRunner().invoke(app, ["mappings", "aside", "--index", index, *options])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def filled(opensearch: Any, index: str) -> str:
    """An index in which some things are set aside."""
    sink = sink_on(opensearch, index)
    written(sink, item("a", 1, data={"a": 1}, when=5))
    odd = [item("b", 2, data="text"), item("c", 3, data=[{"b": 1}, "x"], _version=3), item("d", 4, tags=[1, "x"])]
    assert written(sink, *odd) == [Applied()] * 3
    return index


def test_names_are_shown_with_counts_an_example_and_a_home(filled: str) -> None:
    report = json.loads(shown(filled, "--json"))
    assert [(field["name"], field["documents"]) for field in report["fields"]] == [
        ("data", 2),
        ("_version", 1),
        ("tags", 1),
    ]
    data, version, tags = report["fields"]
    assert (data["indexed_as"], data["example"] in ("b", "c")) == ("object", True)
    assert data["home"].startswith("body: {mappings: {properties: {data: {type: object, enabled: false}}}}")
    assert version["home"] == "fields: {rename: {_version: version}}"
    assert (tags["value"], tags["indexed_as"]) == ("a list of number, text", "")
    assert tags["home"].startswith("body: {mappings: {properties: {tags: {type: keyword, ignore_above: 8191}}}}")
    text = shown(filled)
    assert "data: 2 documents\n" in text
    assert version["home"] in text


@pytest.mark.parametrize("name", ["data", "_version", "tags"])
def test_with_the_home_that_is_shown_nothing_of_the_name_is_set_aside_in_a_new_index(
    opensearch: Any, filled: str, name: str
) -> None:
    (field,) = [one for one in json.loads(shown(filled, "--json"))["fields"] if one["name"] == name]
    sink = sink_on(opensearch, f"{filled}-new", field["home"])
    odd = [
        item("a", 1, data={"a": 1}),
        item("b", 2, data="text", tags=[1, "x"], _version=3),
        item("c", 3, data=[{}, 1]),
    ]
    for one in odd:
        assert written(sink, one) == [Applied()]
    assert name not in shown(f"{filled}-new")


def test_an_index_of_which_nothing_is_set_aside_says_so(opensearch: Any, index: str) -> None:
    written(sink_on(opensearch, index), item("a", 1, n=1))
    assert shown(index) == f"nothing is set aside in {index}\n"


def test_an_index_that_is_not_there_is_named(environment: dict[str, str], index: str) -> None:
    result = CliRunner().invoke(app, ["mappings", "aside", "--index", index])
    assert result.exit_code != 0
