"""Documents that do not fit: refused by the simulated OpenSearch as by the real one, and set aside by the sink."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cdc import Applied, Change, Deadline
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.outcome import Outcome, Rejected
from cdc.sinks.opensearch.bodies import index_body
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change
from tests.contract.test_servers import answers, put


@pytest.fixture(params=["simulated", "real"])
def client(request: pytest.FixtureRequest) -> Any:
    """OpenSearch."""
    return (
        SimulatedOpenSearch(SimulatedClock()) if request.param == "simulated" else request.getfixturevalue("opensearch")
    )


def a_value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 3 and chance.random() < 0.4:
        if chance.random() < 0.5:
            return [a_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
        return {name: a_value(chance, depth + 1) for name in chance.sample("abc", chance.randint(0, 2))}
    return chance.choice([1, 2.5, "x", "1", True, None, "x" * 40000])


def fields_of(server: Any, index: str) -> dict[str, Any]:
    found: dict[str, Any] = server.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_simulated_opensearch_refuses_the_shapes_that_the_real_one_refuses(
    opensearch: Any, index: str, seed: int
) -> None:
    chance, simulated = random.Random(seed), SimulatedOpenSearch(SimulatedClock())  # noqa: S311  (not a secret)
    body = index_body({"settings": {"number_of_replicas": 0, "mapping.total_fields.limit": 40}})
    for server in (simulated, opensearch):
        server.indices.create(index=index, body=body)
    for number in range(120):
        document = {name: a_value(chance) for name in chance.sample("pqrstuvw", chance.randint(1, 3))}
        operation = put(index, "a", 5, document)
        found, wanted = answers(simulated, operation)[0], answers(opensearch, operation)[0]
        assert found == wanted, f"{document!s:.200} ({number} of {seed})"
    shown = [
        server.indices.get_mapping(index=index)[index]["mappings"]["properties"] for server in (simulated, opensearch)
    ]
    assert shown[0] == shown[1]


def sink_on(client: Any, index: str, rule: str = "", body: dict[str, Any] | None = None) -> OpenSearchSink:
    text = f"table: shop\ndocuments:\n  - index: {index}\n    {rule}"
    compiled, targets = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"]), Targets()
    if body is not None:
        client.indices.create(index=index, body=body)
    prepare(client, compiled, item("a", 1).stream, targets)
    return OpenSearchSink(client, lambda _table: compiled, targets)


def item(pk: str, sequence: int, **attributes: Any) -> Change:
    return change({"pk": pk}, None, attributes, sequence=sequence * 10**20)


def written(sink: OpenSearchSink, *changes: Change) -> list[Outcome]:
    return list(sink.write(changes, Deadline.after(30)))


def held(client: Any, index: str, pk: str) -> tuple[int, dict[str, Any]]:
    found = client.get(index=index, id=pk)
    return found["_version"], found["_source"]


def test_what_does_not_fit_is_set_aside_whole_at_the_same_version(client: Any, index: str) -> None:
    sink = sink_on(client, index)
    first, odd = item("a", 1, data={"a": 1}), item("b", 2, data="text", n=1)
    assert written(sink, first) == [Applied()]
    assert written(sink, odd) == [Applied()]
    assert held(client, index, "b") == (
        odd.version,
        {"pk": "b", "n": 1, ASIDE_FIELD: {"data": "text"}, ASIDE_NAMES_FIELD: ["data"]},
    )


def test_a_replay_converges_and_a_later_change_that_fits_takes_it_back(client: Any, index: str) -> None:
    sink = sink_on(client, index)
    written(sink, item("a", 1, data={"a": 1}))
    odd, good = item("b", 2, data="text"), item("b", 3, data={"a": 2})
    assert written(sink, odd) == [Applied()]
    before = held(client, index, "b")
    assert written(sink, odd) == [Applied()]
    assert held(client, index, "b") == before
    assert written(sink, good) == [Applied()]
    assert held(client, index, "b") == (good.version, {"pk": "b", "data": {"a": 2}})
    assert [type(outcome).__name__ for outcome in written(sink, odd)] == ["Superseded"]


def test_of_several_changes_of_an_item_in_a_batch_the_newest_stands_though_it_does_not_fit(
    client: Any, index: str
) -> None:
    sink = sink_on(client, index)
    written(sink, item("a", 1, data={"a": 1}))
    newest = item("b", 4, data="text")
    found = written(sink, item("b", 2, data={"a": 2}), newest, item("b", 3, data={"a": 3}))
    assert [type(outcome).__name__ for outcome in found] == ["Superseded", "Applied", "Superseded"]
    assert held(client, index, "b")[0] == newest.version


@pytest.mark.parametrize(
    "name", ["_id", "_version", "_source", "", " ", ".x", "x..y", "...", "_cdc_aside", "_cdc_tombstone"]
)
def test_an_attribute_whose_name_no_index_takes_is_set_aside(client: Any, index: str, name: str) -> None:
    sink = sink_on(client, index)
    assert written(sink, item("a", 1, **{name: {"b": [1]}, "n": 1})) == [Applied()]
    source = held(client, index, "a")[1]
    assert source == {"pk": "a", "n": 1, ASIDE_FIELD: {name: {"b": [1]}}, ASIDE_NAMES_FIELD: [name]}


@pytest.mark.parametrize("name", ["", " ", "x..y", "."])
def test_a_map_that_holds_such_a_name_is_set_aside_whole(client: Any, index: str, name: str) -> None:
    sink = sink_on(client, index)
    assert written(sink, item("a", 1, data=[{"deep": {name: 1}}], n=1)) == [Applied()]
    assert held(client, index, "a")[1][ASIDE_FIELD] == {"data": [{"deep": {name: 1}}]}


def test_a_mapping_may_ask_for_dead_letters_instead(client: Any, index: str) -> None:
    sink = sink_on(client, index, "on_unfit: dead_letter")
    written(sink, item("a", 1, data={"a": 1}))
    (refused,) = written(sink, item("b", 2, data="text"))
    assert isinstance(refused, Rejected)


def test_an_index_of_one_s_own_gets_no_field_of_ours_and_the_letter_says_what_to_add(client: Any, index: str) -> None:
    sink = sink_on(client, index, body={"mappings": {"properties": {"data": {"type": "object"}}}})
    for odd in (item("b", 2, data="text"), item("b", 3, _cdc_aside=1)):
        (refused,) = written(sink, odd)
        assert isinstance(refused, Rejected)
        assert (
            f'PUT {index}/_mapping {{"properties":{{"_cdc_aside":{{"type":"object","enabled":false}}' in refused.detail
        )
    assert ASIDE_FIELD not in fields_of(client, index)


def test_such_an_index_sets_aside_once_the_fields_are_added(client: Any, index: str) -> None:
    sink = sink_on(client, index, body={"mappings": {"properties": {"data": {"type": "object"}}}})
    added = {ASIDE_FIELD: {"type": "object", "enabled": False}, ASIDE_NAMES_FIELD: {"type": "keyword"}}
    client.indices.put_mapping(index=index, body={"properties": added})
    assert written(sink, item("b", 2, data="text")) == [Applied()]


def test_of_more_fields_than_an_index_may_have_the_new_ones_are_set_aside(client: Any, index: str) -> None:
    rule = "body: {settings: {index.mapping.total_fields.limit: 12}}"
    sink = sink_on(client, index, rule)
    assert written(sink, item("a", 1, known=1)) == [Applied()]
    assert written(sink, item("b", 2, known=2, scores={f"user-{n}": n for n in range(10)})) == [Applied()]
    source = held(client, index, "b")[1]
    assert (source["known"], source[ASIDE_NAMES_FIELD]) == (2, ["scores"])


def test_every_digit_of_what_is_set_aside_stays(client: Any, index: str) -> None:
    sink = sink_on(client, index)
    written(sink, item("a", 1, data="text"))
    assert written(sink, item("b", 2, data={"n": 12345678901234567890123456789012345678})) == [Applied()]
    assert held(client, index, "b")[1][ASIDE_FIELD] == {"data": {"n": 12345678901234567890123456789012345678}}
