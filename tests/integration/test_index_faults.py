"""Faults of an index, provoked on the real OpenSearch: its documents wait, and none becomes a dead letter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opensearchpy import OpenSearch

from cdc import Applied, Deferred
from tests.integration.test_opensearch import outcomes, put, sink_of

Mend = Callable[[], object]


def alias_of_two(server: OpenSearch, index: str) -> Mend:
    server.indices.create(index=f"{index}-v2", body={"aliases": {index: {}}})
    return lambda: server.indices.delete_alias(index=f"{index}-v2", name=index)


def no_write_index(server: OpenSearch, index: str) -> Mend:
    server.indices.put_alias(index=f"{index}-v1", name=index, body={"is_write_index": False})
    return lambda: server.indices.put_alias(index=f"{index}-v1", name=index, body={"is_write_index": True})


def closed(server: OpenSearch, index: str) -> Mend:
    server.indices.close(index=f"{index}-v1")
    return lambda: server.indices.open(index=f"{index}-v1", params={"wait_for_active_shards": "1"})


def missing_pipeline(setting: str) -> Callable[[OpenSearch, str], Mend]:
    return with_setting(f"index.{setting}_pipeline", "gone", "_none")


def blocked(block: str) -> Callable[[OpenSearch, str], Mend]:
    return with_setting(f"index.blocks.{block}", True, None)


def with_setting(setting: str, value: object, mended: object) -> Callable[[OpenSearch, str], Mend]:
    def provoke(server: OpenSearch, index: str) -> Mend:
        server.indices.put_settings(index=index, body={setting: value})
        return lambda: server.indices.put_settings(index=index, body={setting: mended})

    return provoke


@pytest.mark.parametrize(
    "provoke",
    [
        pytest.param(alias_of_two, id="an alias of two indices"),
        pytest.param(no_write_index, id="is_write_index false"),
        pytest.param(missing_pipeline("default"), id="no default pipeline"),
        pytest.param(missing_pipeline("final"), id="no final pipeline"),
        pytest.param(blocked("write"), id="no writes"),
        pytest.param(blocked("read_only"), id="read-only"),
        pytest.param(blocked("read_only_allow_delete"), id="read-only, as of a full disk"),
        pytest.param(closed, id="closed"),
    ],
)
def test_a_fault_of_the_index_defers_each_document_until_it_is_mended(
    opensearch: OpenSearch, index: str, provoke: Callable[[OpenSearch, str], Mend]
) -> None:
    sink = sink_of(opensearch, index)
    mend = provoke(opensearch, index)
    for _ in range(3):
        assert {type(outcome) for outcome in outcomes(sink, put("a"), put("b"))} == {Deferred}
        assert {type(outcome) for outcome in outcomes(sink, put("a"))} == {Deferred}
    mend()
    assert outcomes(sink, put("a"), put("b")) == [Applied(), Applied()]


@pytest.mark.parametrize("setting", ["default", "final"])
def test_a_missing_pipeline_of_an_index_that_is_no_alias_defers_too(
    opensearch: OpenSearch, index: str, setting: str
) -> None:
    opensearch.indices.create(index=index, body={"settings": {"gc_deletes": "20m"}})
    sink = sink_of(opensearch, index)
    missing_pipeline(setting)(opensearch, index)
    for _ in range(3):
        assert {type(outcome) for outcome in outcomes(sink, put("a"))} == {Deferred}
