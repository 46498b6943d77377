"""A real index decides which of many first starts it admits, and remembers what makes a document one."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from opensearchpy import OpenSearch

from cdc import Deadline
from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import change


def arn(table: str) -> str:
    return f"arn:aws:dynamodb:eu-west-1:111122223333:table/{table}/stream/2026-01-15T09:30:00.123"


def mapping(table: str, document: str) -> CompiledMapping:
    return compile_mapping(
        parse_mapping(f"table: {table}\ndocuments:\n  - {document}\n", source="shop.yml"), table, ["pk"]
    )


def started(opensearch: OpenSearch, compiled: CompiledMapping) -> OpenSearchSink:
    targets = Targets()
    prepare(opensearch, compiled, change({"pk": "a"}, stream_arn=arn(compiled.table)).stream, targets)
    return OpenSearchSink(opensearch, lambda _table: compiled, targets)


def start_all(opensearch: OpenSearch, mappings: list[CompiledMapping]) -> list[str]:
    """The tables that were admitted, of many that start at one moment."""
    together = Barrier(len(mappings))

    def start(compiled: CompiledMapping) -> str:
        together.wait()
        try:
            started(opensearch, compiled)
        except ConfigError:
            return ""
        return compiled.table

    with ThreadPoolExecutor(len(mappings)) as pool:
        return [table for table in pool.map(start, mappings) if table]


@pytest.mark.parametrize("there", [False, True], ids=["an index of ours", "an index that is there"])
@pytest.mark.parametrize("_round", range(3))
def test_of_many_first_starts_that_would_share_documents_the_index_admits_one(
    opensearch: OpenSearch, index: str, there: bool, _round: int
) -> None:
    if there:
        opensearch.indices.create(index=index)
    admitted = start_all(opensearch, [mapping(f"table-{n}", f"{{index: {index}}}") for n in range(12)])
    (state,) = opensearch.indices.get_mapping(index=index).values()
    assert len(admitted) == 1
    assert list(state["mappings"]["_meta"]["cdc"]["documents"]) == admitted


def test_of_many_first_starts_that_share_nothing_the_index_remembers_each(opensearch: OpenSearch, index: str) -> None:
    opensearch.indices.create(index=index)
    document = f'{{index: {index}, id: ["{{table}}", pk]}}'
    admitted = start_all(opensearch, [mapping(f"table-{n}", document) for n in range(12)])
    (state,) = opensearch.indices.get_mapping(index=index).values()
    assert len(admitted) == 12
    assert sorted(state["mappings"]["_meta"]["cdc"]["documents"]) == sorted(admitted)
    assert not set(state["mappings"]["properties"]) - {"_cdc_turns"}


def test_of_many_starts_with_different_mappings_of_one_table_the_index_admits_one(
    opensearch: OpenSearch, index: str
) -> None:
    opensearch.indices.create(index=index)
    admitted = start_all(
        opensearch, [mapping("shop", f"{{index: {index}, where: {{n: [{number}]}}}}") for number in range(8)]
    )
    assert admitted == ["shop"]


def test_two_tables_that_two_processes_would_write_to_one_index_are_refused(opensearch: OpenSearch, index: str) -> None:
    started(opensearch, mapping("customers", f"{{index: {index}}}"))
    for table in ("suppliers", "Customers"):
        with pytest.raises(ConfigError, match="items of the two could be one document"):
            started(opensearch, mapping(table, f"{{index: {index}}}"))


def test_an_id_that_changed_is_refused_before_anything_is_written_by_it(opensearch: OpenSearch, index: str) -> None:
    item = {"pk": "1"}
    first = started(opensearch, mapping("shop", f"{{index: {index}}}"))
    first.write([change(item, None, {"n": 1}, sequence=10**20, stream_arn=arn("shop"))], Deadline.after(30))
    with pytest.raises(ConfigError, match="keep their old ids"):
        started(opensearch, mapping("shop", f'{{index: {index}, id: ["{{table}}", pk]}}'))


def test_an_index_that_takes_no_further_field_remembers_all_the_same(
    opensearch: OpenSearch, index: str, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"properties": {"a": {"type": "keyword"}}}
    opensearch.indices.create(
        index=index, body={"settings": {"index.mapping.total_fields.limit": 1}, "mappings": fields}
    )
    caplog.set_level(logging.WARNING)
    started(opensearch, mapping("shop", f"{{index: {index}}}"))
    assert "total_fields.limit" in caplog.text
    with pytest.raises(ConfigError, match="could be one document"):
        started(opensearch, mapping("other", f"{{index: {index}}}"))


def test_an_index_that_a_mapping_names_no_more_is_said(
    opensearch: OpenSearch, index: str, caplog: pytest.LogCaptureFixture
) -> None:
    started(opensearch, mapping("shop", f"{{index: {index}}}"))
    caplog.set_level(logging.WARNING)
    started(opensearch, mapping("shop", f"{{index: {index}-2}}"))
    assert f"the index {index}-v1 holds documents of the table shop too" in caplog.text
