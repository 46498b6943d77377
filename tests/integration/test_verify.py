"""Verification on the real OpenSearch: what was planted is found and mended, and nothing where all is equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.deployment import Deployment
from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from cdc.sinks.opensearch.documents import FoundDocument, OpenSearchDocuments
from cdc.verification.findings import Findings
from cdc.verification.verify import verify
from consumers.aws_lambda import changes as aws_lambda
from consumers.loading import deployment_of
from consumers.runtime import open_runtime
from consumers.settings import load_settings
from tests.integration.test_whole_way import in_stream, lambda_record

FAR_ABOVE = 2**62
MAPPING = """
table: {table}
documents:
  - index: {index}
    on_remove: {on_remove}
    body: {{mappings: {{properties: {{odd: {{type: long}}}}}}}}
"""


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@dataclass
class Shop:
    """A table, its index, and a consumer that indexes when it is asked to."""

    table: str
    arn: str
    index: str
    mapping: Path
    environment: dict[str, str]
    aws: Any
    opensearch: Any
    delivered: int = 0

    def put(self, number: int, **attributes: Any) -> None:
        item = {"pk": {"S": f"item {number}"}, "sk": {"S": "a|b%"}, "total": {"N": str(number)}, **attributes}
        self.aws("dynamodb").put_item(TableName=self.table, Item=item)

    def delete(self, number: int) -> None:
        self.aws("dynamodb").delete_item(TableName=self.table, Key={"pk": {"S": f"item {number}"}, "sk": {"S": "a|b%"}})

    def deliver(self) -> None:
        records = [lambda_record(record, self.arn) for record in in_stream(self.aws("dynamodbstreams"), self.arn)]
        new, self.delivered = records[self.delivered :], len(records)
        assert aws_lambda.handler({"Records": new}, Context()) == {"batchItemFailures": []}

    def skip(self) -> None:
        self.delivered = len(in_stream(self.aws("dynamodbstreams"), self.arn))

    def plant(self, identifier: str, source: Any, version: int) -> None:
        options = {"version": version, "version_type": "external_gte"}
        self.opensearch.index(index=self.index, id=identifier, body=source, params=options)

    def held(self, identifier: str) -> tuple[int, Any]:
        found = self.opensearch.get(index=self.index, id=identifier)
        return found["_version"], found["_source"]

    def deployment(self) -> Deployment:
        return deployment_of(open_runtime(load_settings(self.environment)))

    def verify(self, **options: Any) -> Findings:
        return verify(self.deployment(), self.table, **{"settle_seconds": 0.2, "workers": 3, **options})


@pytest.fixture
def shop(
    environment: dict[str, str],
    table: tuple[str, str],
    index: str,
    bucket: str,
    aws: Any,
    opensearch: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    mapping = tmp_path / "shop.yml"
    mapping.write_text(MAPPING.format(table=table[0], index=index, on_remove="delete"))
    more = {
        "CDC_MAPPINGS": str(tmp_path),
        "CDC_DEAD_LETTER_BUCKET": bucket,
        "CDC_ARCHIVE_BUCKET": bucket,
    }
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()
    yield Shop(table[0], table[1], index, mapping, {**environment, **more}, aws, opensearch)
    aws_lambda._by_mappings.cache_clear()


def identifier(number: int) -> str:
    return f"item {number}|a%7Cb%25"


@pytest.fixture
def filled(shop: Shop) -> Shop:
    for number in range(20):
        shop.put(number, exact={"N": "12345678901234567890.123456789012345678"}, tags={"SS": ["b", "a"]})
    shop.deliver()
    return shop


@pytest.mark.parametrize("with_content", [True, False])
def test_an_index_that_equals_its_table_has_no_differences(filled: Shop, with_content: bool) -> None:
    filled.put(20, odd={"S": "not a number"})
    filled.deliver()
    findings = filled.verify(with_content=with_content)
    assert findings.counts == {}
    assert (findings.items, findings.documents, findings.equal) == (21, 21, 21)
    assert findings.set_aside == (1 if with_content else 0)


def test_what_was_planted_is_found_and_mended_at_versions_that_are_there(filled: Shop) -> None:
    version = filled.held(identifier(0))[0]
    filled.opensearch.delete(
        index=filled.index, id=identifier(0), params={"version": version, "version_type": "external_gte"}
    )
    filled.opensearch.indices.close(index=f"{filled.index}-v1")  # it forgets the delete
    filled.opensearch.indices.open(index=f"{filled.index}-v1")
    filled.opensearch.cluster.health(index=filled.index, params={"wait_for_active_shards": "1"})
    filled.delete(1)
    filled.put(2, total={"N": "200"})
    filled.skip()
    filled.plant(identifier(3), {"total": 3.5}, filled.held(identifier(3))[0])
    filled.plant(identifier(4), {"pk": "item 4", "sk": "a|b%"}, filled.held(identifier(4))[0])
    filled.plant("another's", {"total": 1}, 5)
    filled.plant(identifier(6), filled.held(identifier(6))[1], FAR_ABOVE)
    planted = {"missing": 1, "ghost": 2, "stale": 2, "shape": 1, "foreign": 1}
    assert filled.verify().counts == planted
    versions = {number: filled.held(identifier(number))[0] for number in range(2, 20)}
    findings = filled.verify(repair=True)
    assert findings.counts == planted
    assert findings.repaired == {name: count for name, count in planted.items() if name != "foreign"}
    assert findings.left == 1
    assert filled.verify().counts == {"foreign": 1}
    assert {number: filled.held(identifier(number))[0] for number in range(2, 20)} == versions
    assert filled.held(identifier(0))[0] == version  # as the archive tells it


def test_a_tombstone_is_no_document_and_a_ghost_becomes_one(shop: Shop) -> None:
    shop.mapping.write_text(MAPPING.format(table=shop.table, index=shop.index, on_remove="tombstone"))
    for number in range(3):
        shop.put(number)
    shop.deliver()
    shop.delete(0)
    shop.deliver()
    assert "_cdc_tombstone" in shop.held(identifier(0))[1]
    assert shop.verify().counts == {}
    shop.delete(1)
    shop.skip()
    assert shop.verify(repair=True).repaired == {"ghost": 1}
    assert "_cdc_tombstone" in shop.held(identifier(1))[1]
    assert shop.verify().counts == {}


def test_a_dead_letter_explains_a_difference(shop: Shop) -> None:
    text = MAPPING.format(table=shop.table, index=shop.index, on_remove="delete")
    shop.mapping.write_text(text + "    on_unfit: dead_letter\n")
    shop.put(0)
    shop.put(1, odd={"S": "not a number"})
    shop.deliver()
    findings = shop.verify()
    assert findings.counts == {"kept": 1}
    assert findings.examples[0].letter.startswith(f"table={shop.table}/")


def test_a_sample_looks_at_some(filled: Shop) -> None:
    filled.opensearch.indices.refresh(index=filled.index)
    findings = filled.verify(sample=5, seed=1)
    assert (findings.items, findings.documents, findings.counts) == (5, 5, {})


# --- documents read back


@pytest.fixture
def documents(environment: dict[str, str]) -> OpenSearchDocuments:
    options = OpenSearchOptions(endpoint=environment["CDC_OPENSEARCH_ENDPOINT"])
    return OpenSearchDocuments(opensearch_client(options, raw_answers=True))


def test_sources_come_back_as_they_were_written(documents: OpenSearchDocuments, opensearch: Any, index: str) -> None:
    source = (
        b'{"n":12345678901234567890.1234567890123456780,"e":1E+2,"text":"\xc3\xa9 \xf0\x9f\x98\x80","big":1'
        + b"0" * 30
        + b"}"
    )
    body = {"settings": {"number_of_shards": 2}, "mappings": {"enabled": False}}
    opensearch.indices.create(index=index, body=body)
    actions = [
        orjson.dumps({"index": {"_index": index, "_id": f"id {number}", "routing": f"r{number % 3}"}})
        for number in range(50)
    ]
    opensearch.bulk(body=b"".join(action + b"\n" + source + b"\n" for action in actions))
    found: list[FoundDocument] = []
    for slice_ in range(3):
        for page in documents.pages(index, slice_=slice_, slices=3, with_source=True):
            found += page
    assert sorted(one.id for one in found) == sorted(f"id {number}" for number in range(50))
    assert {one.source for one in found} == {source}
    assert {one.routing for one in found} == {"r0", "r1", "r2"}
    got = documents.get(index, [("id 1", "r1"), ("nobody", None), ("id 2", "r2")])
    assert [one and one.source for one in got] == [source, None, source]
    assert {one.version for one in found} == {1}
    assert next(iter(documents.pages(index, with_source=False)))[0].source is None
    assert documents.count(index) == 50
    drawn = documents.sample(index, 10, 7)
    assert len({one.id for one in drawn}) == 10
    assert [one.id for one in documents.sample(index, 10, 7)] == [one.id for one in drawn]


def test_a_scroll_is_cleared_when_its_reader_stops_early(
    documents: OpenSearchDocuments, opensearch: Any, index: str
) -> None:
    for number in range(25):
        opensearch.index(index=index, id=str(number), body={"text": "x" * 700_000})
    pages = documents.pages(index, with_source=True)
    assert 0 < len(next(pages)) < 25
    assert _open_scrolls(opensearch, index) > 0
    pages.close()  # type: ignore[attr-defined]
    assert _open_scrolls(opensearch, index) == 0


def _open_scrolls(opensearch: Any, index: str) -> int:
    found = opensearch.indices.stats(index=index, metric="search")["_all"]["total"]["search"]["scroll_current"]
    return int(found)


def test_an_index_that_is_not_there_is_named(documents: OpenSearchDocuments) -> None:
    with pytest.raises(ConfigError, match="there is no index nowhere"):
        list(documents.pages("nowhere", with_source=True))
    with pytest.raises(ConfigError, match="there is no index nowhere"):
        documents.get("nowhere", [("a", None)])


def test_a_server_that_does_not_answer_is_out_of_reach() -> None:
    away = OpenSearchDocuments(opensearch_client(OpenSearchOptions(endpoint="http://127.0.0.1:9"), raw_answers=True))
    with pytest.raises(SinkUnavailable, match="documents of orders can't be read"):
        away.count("orders")


def test_a_client_that_parses_answers_is_refused(opensearch: Any, index: str) -> None:
    opensearch.indices.create(index=index)
    with pytest.raises(ConfigError, match="numbers would lose digits"):
        OpenSearchDocuments(opensearch).count(index)
