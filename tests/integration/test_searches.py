"""`cdc searches compare` on the real OpenSearch: what two indices find, and what one of them refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.rebuilds.hits import MovedHit, RankedHit, SearchCompared
from cdc.rebuilds.queries import compare_searches
from cdc.rebuilds.recorded import RecordedSearch
from cdc.sinks.opensearch.bodies import index_body
from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from tests.integration.backfilling import Done, cdc

__all__ = ["cdc"]

ALL: dict[str, Any] = {"query": {"match_all": {}}}
Bodies = Mapping[str, Any]
Make = Callable[[str, Mapping[str, Any], Bodies], str]


@pytest.fixture
def made(opensearch: Any, index: str) -> Iterator[Make]:
    """Makes an index of these documents; its name."""
    names = []

    def make(name: str, documents: Mapping[str, Any], properties: Bodies) -> str:
        names.append(f"{index}-{name}")
        opensearch.indices.create(
            index=names[-1], body=index_body({"mappings": {"properties": properties}}, tombstones=True)
        )
        lines = [line for key, source in documents.items() for line in ({"index": {"_id": key}}, source)]
        body = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        if documents:
            assert not opensearch.bulk(index=names[-1], body=body)["errors"]
        return names[-1]

    yield make
    for name in names:
        opensearch.indices.delete(index=name)


def orders(count: int = 40) -> dict[str, Any]:
    return {f"order {number}": {"n": number, "status": "open"} for number in range(count)}


def compare(client: Any, before: str, after: str, body: Any, **options: Any) -> SearchCompared:
    (found,) = compare_searches(client, [RecordedSearch("q", body)], before, after, **options)
    return found


def test_two_indices_of_the_same_documents_find_the_same_in_whatever_order_they_were_written(
    opensearch: Any, made: Make
) -> None:
    several = dict(reversed(orders().items()))
    before, after = made("v1", orders(), {}), made("v2", several, {})
    for body in (ALL, {"query": {"term": {"status": "open"}}}, {"sort": ["n"], "size": 3}, {"from": 5}):
        assert not compare(opensearch, before, after, body).differs, body


def test_hits_that_come_go_and_move_are_told(opensearch: Any, made: Make) -> None:
    now = {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}
    then = {"a": {"n": 4}, "b": {"n": 2}, "x": {"n": 3}, "y": {"n": 9}}
    before, after = made("v1", now, {}), made("v2", then, {})
    found = compare(opensearch, before, after, {"sort": ["n"]})
    assert (found.before, found.after) == (3, 4)
    assert found.gained == (RankedHit(2, "x"), RankedHit(4, "y"))
    assert found.lost == (RankedHit(3, "c"),)
    assert found.moved == (MovedHit(1, 3, "a"), MovedHit(2, 1, "b"))


def test_a_search_that_one_index_refuses_is_a_finding(opensearch: Any, made: Make) -> None:
    before, after = made("v1", orders(3), {"status": {"type": "keyword"}}), made("v2", orders(3), {})
    found = compare(opensearch, before, after, {"sort": ["status"]})
    assert not found.failed_before
    assert found.failed_after.startswith("400 illegal_argument_exception: Text fields are not optimised")
    assert "fails after" in found.verdict


def test_tombstones_are_left_out_unless_they_are_asked_for(opensearch: Any, made: Make) -> None:
    gone = {**orders(3), "gone": {TOMBSTONE_FIELD: "2026-01-01T00:00:00Z"}}
    before, after = made("v1", gone, {}), made("v2", orders(3), {})
    assert not compare(opensearch, before, after, ALL).differs
    assert compare(opensearch, before, after, ALL, hidden_by=None).lost == (RankedHit(1, "gone"),)


def test_other_ids_are_told_apart_from_other_hits(opensearch: Any, made: Make) -> None:
    renamed = {f"new {key}": source for key, source in orders().items()}
    before, after = made("v1", orders(), {}), made("v2", renamed, {})
    assert compare(opensearch, before, after, ALL).ids_differ


def test_hits_of_which_none_is_left_are_lost_where_the_ids_are_the_same(opensearch: Any, made: Make) -> None:
    turned = {key: {"n": -source["n"]} for key, source in orders(300).items()}
    before, after = made("v1", orders(300), {}), made("v2", turned, {})
    found = compare(opensearch, before, after, {"sort": ["n"], "size": 2})
    assert not found.ids_differ
    assert found.lost == (RankedHit(1, "order 0"), RankedHit(2, "order 1"))
    assert found.gained == (RankedHit(1, "order 299"), RankedHit(2, "order 298"))


def test_aggregations_are_compared(opensearch: Any, made: Make) -> None:
    body = {"size": 0, "aggs": {"most": {"max": {"field": "n"}}}}
    more = {**orders(3), "order 2": {"n": 7}}
    before, after = made("v1", orders(3), {}), made("v2", more, {})
    assert compare(opensearch, before, after, body).verdict == "other aggregations"


def test_an_index_that_is_not_there_is_a_wrong_set_up_and_a_server_that_is_away_is_not(
    opensearch: Any, made: Make
) -> None:
    before = made("v1", {}, {})
    with pytest.raises(ConfigError, match="there is no index nowhere"):
        compare(opensearch, before, "nowhere", ALL)
    with pytest.raises(SinkUnavailable, match="Check the endpoint"):
        compare(opensearch_client(OpenSearchOptions(endpoint="http://127.0.0.1:9")), before, before, ALL)


def test_the_command_ends_with_a_code(opensearch: Any, made: Make, cdc: Callable[..., Done], tmp_path: Path) -> None:
    before, after = made("v1", orders(3), {}), made("v2", orders(4), {})
    queries, page = tmp_path / "queries.ndjson", tmp_path / "page.html"
    queries.write_text('{"name": "all", "query": {"match_all": {}}}\n{}\n{"query": {"term": {"n": 1}}}\n')
    asked = ("searches", "compare", "--queries", str(queries), "--before", before, "--after")
    done = cdc(*asked, before)
    assert (done.code, done.out.strip()) == (0, "2 searches: the same hits")
    done = cdc(*asked, after, "--html", str(page))
    assert done.code == 1
    assert done.out.startswith("1 of 2 searches differs")
    assert "order 3" not in done.out + page.read_text()
    done = cdc(*asked, after, "--json", "--show-ids")
    assert json.loads(done.out)[0]["gained"] == [{"rank": 4, "id": "order 3"}]
    queries.write_text("{}\nno\n")
    assert "queries.ndjson:2: no JSON" in cdc(*asked, after).error
