"""Every failure that a real OpenSearch can be provoked to, and the outcome it has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import orjson
import pytest
from opensearchpy import OpenSearch

from cdc import Applied, Change, Deadline, Deferred, Outcome, Rejected, Superseded
from cdc.delivery.retrying import Retrying
from cdc.errors import SinkMisconfigured, SinkUnavailable
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.writes import Put
from cdc.sinks.opensearch.bulk import verdict
from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.refusals import refusal_of
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import change
from local.opensearch import start_opensearch
from local.servers import Servers

Body = dict[str, Any]


def sink_of(
    client: OpenSearch, index: str, body: Body | None = None, extra: str = "", **options: Any
) -> OpenSearchSink:
    text = orjson.dumps(
        {"table": "shop", "documents": [{"index": index, "body": body or {}, "on_unfit": "dead_letter"}]}
    ).decode()
    compiled = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"])
    targets = Targets()
    prepare(client, compiled, put("a").stream, targets)
    return OpenSearchSink(client, lambda _table: compiled, targets, **options)


def put(pk: str, sequence: int = 1, **attributes: Any) -> Change:
    return change({"pk": pk}, None, attributes, sequence=sequence * 10**20)


def removed(pk: str, sequence: int = 1) -> Change:
    return change({"pk": pk}, {"n": 1}, None, sequence=sequence * 10**20)


def outcomes(sink: OpenSearchSink, *changes: Change) -> list[Outcome]:
    return list(sink.write(changes, Deadline.after(30)))


def causes(found: list[Outcome]) -> list[str]:
    return [f"{type(outcome).__name__}: {getattr(outcome, 'cause', '')}" for outcome in found]


def test_indices_are_made_behind_an_alias(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index, {"mappings": {"properties": {"n": {"type": "keyword"}}}})
    (state,) = opensearch.indices.get(index=index).values()
    assert list(state["aliases"]) == [index]
    assert state["settings"]["index"]["gc_deletes"] == "1200s"
    assert state["mappings"]["properties"]["n"] == {"type": "keyword"}
    assert state["mappings"]["_meta"]["cdc"]["tables"]["shop"]["arn"].endswith("table/shop")
    assert sink.targets.require_alias(index)


def test_an_index_of_the_users_is_used_as_it_is(opensearch: OpenSearch, index: str) -> None:
    opensearch.indices.create(index=index, body={"mappings": {"properties": {"n": {"type": "keyword"}}}})
    sink = sink_of(opensearch, index, {"mappings": {"properties": {"n": {"type": "double"}}}})
    assert outcomes(sink, put("a", n=1)) == [Applied()]
    assert opensearch.indices.get(index=index)[index]["mappings"]["properties"]["n"] == {"type": "keyword"}


def test_an_index_that_cannot_be_made_is_a_mistake_of_the_configuration(opensearch: OpenSearch, index: str) -> None:
    with pytest.raises(SinkMisconfigured, match=r"shop\.yml"):
        sink_of(opensearch, index, {"mappings": {"properties": {"n": {"type": "no such type"}}}})


def test_numbers_of_every_size_keep_their_digits(servers: Servers, opensearch: OpenSearch, index: str) -> None:
    numbers: dict[str, Any] = {
        "big": 10**37 + 1,
        "huge": Decimal("1E+100"),
        "tiny": Decimal("-1E-130"),
        "list": [1, Decimal("0.10")],
    }
    sink = sink_of(opensearch, index)
    assert outcomes(sink, put("a", **numbers)) == [Applied()]
    with urlopen(f"{servers.opensearch.url}/{index}/_source/a") as answer:
        assert json.loads(answer.read(), parse_float=Decimal) == {"pk": "a", **numbers}
    opensearch.indices.refresh(index=index)
    found = opensearch.search(index=index, body={"query": {"term": {"big.exact": str(10**37 + 1)}}})
    assert found["hits"]["total"]["value"] == 1


def test_older_states_and_replays(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    assert outcomes(sink, put("a", 5, n=5)) == [Applied()]
    assert outcomes(sink, put("a", 4, n=4)) == [Superseded()]
    assert outcomes(sink, put("a", 5, n=5)) == [Applied()]
    assert outcomes(sink, removed("a", 6)) == [Applied()]
    assert outcomes(sink, put("a", 5, n=5)) == [Superseded()]
    assert outcomes(sink, removed("nobody", 6)) == [Applied()]


@pytest.mark.parametrize(
    ("attributes", "hint"),
    [
        ({"_id": 1}, "rename"),
        ({"_source": 1}, "rename"),
        ({"": 1}, "rename"),
        ({".x": 1}, "rename"),
        ({"x..y": 1}, "rename"),
        ({"scalar": {"inner": 1}}, ""),
    ],
)
def test_documents_that_can_never_be_stored_are_rejected_alone(
    opensearch: OpenSearch, index: str, attributes: dict[str, Any], hint: str
) -> None:
    sink = sink_of(opensearch, index)
    good = put("good", flag=True, scalar=1)
    assert outcomes(sink, good) == [Applied()]
    first, rejected, last = outcomes(sink, put("b", n=1), put("bad", **attributes), put("c", n=1))
    assert (first, last) == (Applied(), Applied())
    assert isinstance(rejected, Rejected)
    assert hint in rejected.detail
    assert rejected.document == f"{index}/bad"
    assert rejected.mapping == "shop.yml"
    assert "yes" not in rejected.cause.text


def test_a_strict_index_and_a_full_field_limit_reject(opensearch: OpenSearch, index: str) -> None:
    strict = sink_of(opensearch, index, {"mappings": {"dynamic": "strict", "properties": {"pk": {"type": "keyword"}}}})
    assert causes(outcomes(strict, put("a", n=1))) == ["Rejected: OpenSearch: 400 strict_dynamic_mapping_exception"]
    limited = sink_of(opensearch, f"{index}-limited", {"settings": {"index.mapping.total_fields.limit": 4}})
    many = outcomes(limited, put("a", **{f"field{number}": 1 for number in range(9)}))
    assert causes(many) == ["Rejected: OpenSearch: 400 illegal_argument_exception"]


def _close(client: OpenSearch, index: str) -> Callable[[], object]:
    client.indices.close(index=index)
    return lambda: client.indices.open(index=index)


def _vanish(client: OpenSearch, index: str) -> Callable[[], object]:
    client.indices.delete_alias(index=f"{index}-v1", name=index)
    return lambda: client.indices.put_alias(index=f"{index}-v1", name=index)


def _block(setting: str) -> Callable[[OpenSearch, str], Callable[[], object]]:
    def provoke(client: OpenSearch, index: str) -> Callable[[], object]:
        client.indices.put_settings(index=index, body={setting: True})
        return lambda: client.indices.put_settings(index=index, body={setting: None})

    return provoke


def _breaker(client: OpenSearch, _index: str) -> Callable[[], object]:
    name = "network.breaker.inflight_requests.limit"
    client.cluster.put_settings(body={"transient": {name: "1kb"}})
    return lambda: client.cluster.put_settings(body={"transient": {name: None}})


@pytest.mark.parametrize(
    "provoke",
    [
        pytest.param(_close, id="closed index"),
        pytest.param(_vanish, id="vanished alias"),
        pytest.param(_block("index.blocks.write"), id="write block (403)"),
        pytest.param(_block("index.blocks.read_only_allow_delete"), id="full disk (429)"),
        pytest.param(_breaker, id="circuit breaker (429)"),
    ],
)
def test_what_may_pass_defers_and_passes(
    opensearch: OpenSearch, index: str, provoke: Callable[[OpenSearch, str], Callable[[], object]]
) -> None:
    sink = sink_of(opensearch, index)
    changes = [put("a", 2, text="x" * 2000), put("b", 2, n=2)]
    mend = provoke(opensearch, index)
    try:
        found = outcomes(sink, *changes)
    finally:
        mend()
    assert [type(outcome) for outcome in found] == [Deferred, Deferred]
    assert outcomes(sink, *changes) == [Applied(), Applied()]


def test_a_delete_never_makes_a_vanished_index_anew(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    opensearch.indices.delete(index=f"{index}-v1")
    found = outcomes(sink, removed("a"), put("b"))
    assert [type(outcome) for outcome in found] == [Deferred, Deferred]
    assert not opensearch.indices.exists(index=index)


def test_a_vanished_index_of_the_users_own_is_not_made_anew(opensearch: OpenSearch, index: str) -> None:
    opensearch.indices.create(index=index)
    sink = sink_of(opensearch, index)
    assert outcomes(sink, put("a")) == [Applied()]
    opensearch.indices.delete(index=index)
    assert [type(outcome) for outcome in outcomes(sink, removed("a", 2), put("b"))] == [Deferred, Deferred]
    assert not opensearch.indices.exists(index=index)


def test_an_index_whose_alias_is_gone_says_what_to_do(opensearch: OpenSearch, index: str) -> None:
    opensearch.indices.create(index=f"{index}-v1")
    with pytest.raises(SinkMisconfigured, match=f"Give {index}-v1 the alias {index} again"):
        sink_of(opensearch, index)


def test_a_bodys_settings_replace_ours_however_they_are_written(opensearch: OpenSearch, index: str) -> None:
    sink_of(opensearch, index, {"settings": {"index.gc_deletes": "1h", "number_of_replicas": 0}})
    (state,) = opensearch.indices.get(index=index).values()
    assert (state["settings"]["index"]["gc_deletes"], state["settings"]["index"]["number_of_replicas"]) == ("1h", "0")


def test_a_change_rejected_by_two_indices_names_both(opensearch: OpenSearch, index: str) -> None:
    strict = {"mappings": {"dynamic": "strict", "properties": {"pk": {"type": "keyword"}}}}
    documents = [{"index": f"{index}-{name}", "body": strict, "on_unfit": "dead_letter"} for name in "ab"]
    text = orjson.dumps({"table": "shop", "documents": documents}).decode()
    compiled = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"])
    targets = Targets()
    prepare(opensearch, compiled, put("a").stream, targets)
    (outcome,) = OpenSearchSink(opensearch, lambda _table: compiled, targets).write([put("a", n=1)], Deadline.after(30))
    assert isinstance(outcome, Rejected)
    assert {outcome.document, *(other.document for other in outcome.others)} == {f"{index}-a/a", f"{index}-b/a"}


def test_a_request_that_fails_as_a_whole_rejects_the_guilty_write_alone(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    writes = [Put(index, identifier, None, 7, b"{}") for identifier in ("a", "b", "x" * 600, "c")]
    found = sink._send(writes, Deadline.after(30))
    assert [type(outcome) for outcome in found] == [Applied, Applied, Rejected, Applied]


def test_an_unreachable_opensearch_defers_all(index: str, opensearch: OpenSearch) -> None:
    sink = sink_of(opensearch, index)
    nobody = opensearch_client(OpenSearchOptions(endpoint="http://127.0.0.1:9"))
    away = OpenSearchSink(nobody, sink.mapping_of, sink.targets)
    assert [type(outcome) for outcome in outcomes(away, put("a"), put("b"))] == [Deferred, Deferred]
    with pytest.raises(SinkUnavailable, match="Check the endpoint of OpenSearch"):
        sink_of(nobody, f"{index}-other")


def test_a_target_that_ignores_versions_stops_the_consumer(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    with pytest.raises(SinkMisconfigured, match="ignores external versions"):
        sink._verify([{"index": {"_version": 1, "status": 201}}], [Put(index, "a", None, 7, b"{}")], frozenset({index}))


def test_requests_are_cut_by_count_and_bytes(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index, max_count=3, max_bytes=500)
    changes = [put(f"k{number}", text="x" * (number * 40)) for number in range(20)]
    assert outcomes(sink, *changes) == [Applied()] * 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    """A server with one writing thread, a queue of one, and small requests."""
    settings = "thread_pool.write.size: 1\nthread_pool.write.queue_size: 1\nhttp.max_content_length: 20kb"
    folder: Path = tmp_path_factory.mktemp("small")
    server = start_opensearch(folder, lambda *_: None, extra_settings=settings)
    yield opensearch_client(OpenSearchOptions(endpoint=server.url))
    server.stop()


def test_a_request_too_large_is_halved_and_a_document_too_large_rejected(small: OpenSearch, index: str) -> None:
    sink = sink_of(small, index)
    changes = [put(f"k{number}", text="x" * 1500) for number in range(40)]
    found = outcomes(sink, *changes, put("huge", text="x" * 30_000))
    assert found[:40] == [Applied()] * 40
    assert isinstance(found[40], Rejected)
    assert "413" in found[40].cause.text


def test_a_full_write_queue_defers_items_and_loses_none(small: OpenSearch, index: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sink = sink_of(small, index, {"settings": {"index": {"number_of_shards": 2}}})
    batches = [[put(f"k{batch}-{number}", n=number) for number in range(50)] for batch in range(24)]
    with ThreadPoolExecutor(16) as pool:
        found = [outcome for part in pool.map(lambda batch: outcomes(sink, *batch), batches) for outcome in part]
    assert {type(outcome) for outcome in found} <= {Applied, Deferred}
    small.indices.refresh(index=index)
    assert small.count(index=index)["count"] >= sum(isinstance(outcome, Applied) for outcome in found)
    retrying = Retrying(sink)
    for batch in batches:
        assert list(retrying.write(batch, Deadline.after(30))) == [Applied()] * 50


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ({"index": {"status": 503, "error": {"type": "unavailable_shards_exception"}}}, Deferred),
        ({"index": {"status": 429, "error": {"type": "rejected_execution_exception"}}}, Deferred),
        ({"index": {"status": 403, "error": {"type": "security_exception"}}}, Deferred),
        ({"delete": {"status": 404, "error": {"type": "index_not_found_exception"}}}, Deferred),
        ({"delete": {"status": 404}}, Applied),
        ({"index": {"status": 409, "error": {"type": "version_conflict_engine_exception"}}}, Superseded),
        ({"index": {"status": 400, "error": {"type": "index_closed_exception"}}}, Deferred),
        ({"index": {"status": 400, "error": {"type": "mapper_parsing_exception"}}}, Rejected),
    ],
)
def test_answers_that_one_server_cannot_be_provoked_to(item: dict[str, Any], kind: type[Outcome]) -> None:
    assert isinstance(verdict(item), kind)


def test_the_field_that_is_refused_is_told_from_opensearchs_own_sentence(opensearch: OpenSearch, index: str) -> None:
    fields = {"address": {"properties": {"city": {"type": "keyword"}}}, "age": {"type": "long"}, "on": {"type": "date"}}
    sink = sink_of(opensearch, index, {"mappings": {"properties": fields}})
    found = outcomes(
        sink, put("a", address="x"), put("b", age="x"), put("c", on="x"), put("d", age={"a": 1}), put("e", new=[{}, 1])
    )
    assert [str(refusal_of(outcome.detail)) if isinstance(outcome, Rejected) else outcome for outcome in found] == [
        "field address: an object in the index, a plain value in the item",
        "field age: the item's value is no long",
        "field on: the item's value is no date",
        "field age: the item's value is no long",
        "field new: objects and plain values meet",
    ]
