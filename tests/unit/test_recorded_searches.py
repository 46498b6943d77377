"""Files of recorded searches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.rebuilds.recorded import read_searches

ALL: dict[str, Any] = {"query": {"match_all": {}}}


def read(folder: Path, text: str) -> list[tuple[str, Any]]:
    path = folder / "queries.ndjson"
    path.write_text(text, encoding="utf-8")
    return [(one.name, one.body) for one in read_searches(path)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"query": {"match_all": {}}}', [("queries.ndjson:1", ALL)]),
        ('\n{"name": "all", "query": {"query": {"match_all": {}}, "size": 3}}\r\n', [("all", {**ALL, "size": 3})]),
        ('{"name": "all", "query": {"match_all": {}}}', [("all", ALL)]),
        ('{"query": {"query": {"match_all": {}}}}', [("queries.ndjson:1", ALL)]),
        ('{"name": "near", "query": {"knn": {"v": {}}}}', [("near", {"query": {"knn": {"v": {}}}})]),
        ('{"size": 0, "aggs": {}}', [("queries.ndjson:1", {"size": 0, "aggs": {}})]),
        (
            '{}\n{"query": {"match_all": {}}}\n{"index": "a"}\n{}\n',
            [("queries.ndjson:2", ALL), ("queries.ndjson:4", {})],
        ),
    ],
    ids=["bare", "whole under query", "clause with a name", "nested", "knn", "no query", "_msearch"],
)
def test_a_line_is_read_in_each_of_its_forms(tmp_path: Path, text: str, expected: Any) -> None:
    assert read(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"query": {}}\n{nothing', "queries.ndjson:2: no JSON"),
        ("[1]", "queries.ndjson:1: list"),
        ('{"quary": {}}', "queries.ndjson:1: 'quary' is no part of a search body"),
        ('{"query": 7}', "queries.ndjson:1: the query is no object"),
        ('{"name": 7, "query": {}}', "queries.ndjson:1: the name is no text"),
        ('{"query": {}}\n{"index": "a"}', "queries.ndjson:2: a header of _msearch without a body"),
        ("\n\n", "holds no search"),
    ],
)
def test_a_line_that_is_no_search_is_named_with_the_way_out(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        read(tmp_path, text)
    assert "A line is a search body" in error.value.remedy


def test_a_file_that_is_not_there_is_a_wrong_set_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_searches(tmp_path / "none")
