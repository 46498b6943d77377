"""The requests of docs/index-defaults.md find what the page says, on the real OpenSearch."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError

from cdc import Applied, Deadline
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.records.attributes import decode_item
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import change

PAGE = (Path(__file__).parents[2] / "docs" / "index-defaults.md").read_text(encoding="utf-8")
ITEMS = {name: json.loads(item) for name, item in re.findall(r"^\| `(\w+)` \| `(\{.*\})` \|$", PAGE, re.MULTILINE)}
REQUESTS = re.findall(r"```json\nGET people/_search\n(.*?)```\n+Finds (.*?)\.\n", PAGE, re.DOTALL)
BODY = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]


@pytest.fixture(scope="module")
def people(request: pytest.FixtureRequest) -> tuple[OpenSearch, str]:
    """The page's items in an index that was made without a body."""
    from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client

    endpoint = request.getfixturevalue("servers").environment()["CDC_OPENSEARCH_ENDPOINT"]
    client = opensearch_client(OpenSearchOptions(endpoint=endpoint))
    index = f"people-{uuid4().hex[:12]}"  # each of pytest's processes that has some of these tests makes its own
    return client, filled(client, index, f"table: people\ndocuments: [{{index: {index}}}]")


def filled(client: OpenSearch, index: str, mapping: str) -> str:
    compiled = compile_mapping(parse_mapping(mapping, source="people.yml"), "people", ["id"])
    targets = Targets()
    changes = []
    for number, (name, item) in enumerate(ITEMS.items(), start=1):
        attributes = decode_item({**item, "id": {"S": name}})
        changes.append(change({"id": name}, None, attributes, sequence=number * 10**20))
    prepare(client, compiled, changes[0].stream, targets)
    sink = OpenSearchSink(client, lambda _table: compiled, targets)
    assert set(sink.write(changes, Deadline.after(30))) == {Applied()}
    client.indices.refresh(index=index)
    return index


@pytest.mark.parametrize(("body", "says"), REQUESTS, ids=[f"{n} {says}" for n, (_, says) in enumerate(REQUESTS, 1)])
def test_a_request_of_the_page_finds_what_it_says(people: tuple[OpenSearch, str], body: str, says: str) -> None:
    client, index = people
    hits = client.search(index=index, body=json.loads(body))["hits"]["hits"]
    found = [hit["_id"] for hit in hits]
    named = re.findall(r"`(\w+)`", says)
    assert (found if "sort" in body else sorted(found)) == (named if "sort" in body else sorted(named))


def test_a_source_keeps_every_digit(people: tuple[OpenSearch, str], environment: dict[str, str]) -> None:
    _, index = people
    with urlopen(f"{environment['CDC_OPENSEARCH_ENDPOINT']}/{index}/_source/ada") as answer:
        assert b'"balance":12345678901234567890.123' in answer.read()


def test_sorting_by_a_text_itself_is_refused(people: tuple[OpenSearch, str]) -> None:
    client, index = people
    with pytest.raises(RequestError, match="name"):
        client.search(index=index, body={"sort": ["name"]})


def test_an_item_with_too_many_names_has_all_that_is_new_set_aside(people: tuple[OpenSearch, str]) -> None:
    client, _ = people
    compiled = compile_mapping(
        parse_mapping("table: people\ndocuments: [{index: people-of-many-names}]", source="people.yml"),
        "people",
        ["id"],
    )
    many = change({"id": "many"}, None, {f"name-{number}": number for number in range(5001)}, sequence=10**20)
    few = change({"id": "few"}, None, {"n": 1}, sequence=2 * 10**20)
    targets = Targets()
    prepare(client, compiled, many.stream, targets)
    sink = OpenSearchSink(client, lambda _table: compiled, targets)
    outcomes = sink.write([many, few], Deadline.after(30))
    assert outcomes == [Applied(), Applied()]
    source = client.get(index="people-of-many-names", id="many")["_source"]
    assert source["id"] == "many"
    assert len(source["_cdc_aside"]) == 5001


def test_the_fields_are_as_the_page_says(people: tuple[OpenSearch, str]) -> None:
    client, index = people
    (mapped,) = client.indices.get_mapping(index=index).values()
    fields: dict[str, Any] = mapped["mappings"]["properties"]
    assert mapped["mappings"]["date_detection"] is False
    assert fields["age"] == {
        "type": "double",
        "ignore_malformed": True,
        "fields": {"exact": {"type": "keyword", "ignore_above": 8191}},
    }
    assert fields["name"]["type"] == "text"
    assert fields["name"]["fields"]["keyword"]["type"] == "keyword"
    assert fields["born"]["type"] == "text"
    assert fields["member"] == {"type": "keyword", "ignore_above": 8191}
    assert fields["_cdc_aside"] == {"type": "object", "enabled": False}
    assert fields["_cdc_aside_names"]["type"] == "keyword"
    assert fields["address"]["properties"]["city"]["type"] == "text"


def test_the_body_of_the_page_makes_dates_that_ranges_find(people: tuple[OpenSearch, str]) -> None:
    client, _ = people
    index = filled(client, "people", BODY)
    query = {"query": {"range": {"born": {"gte": "1900-01-01", "lt": "1910-01-01"}}}}
    assert [hit["_id"] for hit in client.search(index=index, body=query)["hits"]["hits"]] == ["grace"]
