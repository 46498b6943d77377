"""Any item that DynamoDB can hold gets its document, at its version, without a dead letter, on the real OpenSearch.

`make any-item ITEMS=10000` tries more of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opensearchpy import OpenSearch

from cdc import Applied, Change, Deadline
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.mappings.writes import Put
from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import change
from local.servers import Servers

ITEMS = int(os.environ.get("ITEMS", "400"))
_IN_A_BATCH = 20
_BATCHES_OF_AN_INDEX = 25

_exact = json.JSONDecoder(parse_float=Decimal).decode

ODD_NAMES = """
    _id _version _source _routing _type _size _meta _seq_no _primary_term _ignored _doc_count _cdc_aside
    _cdc_aside_names _cdc_tombstone a.b a.b.c b.a .a a. a..b . .. ... a.exact a.keyword [a] a] a*b { } " \\ #
"""
odd_names = st.sampled_from(ODD_NAMES.split()) | st.sampled_from(
    [" ", "  ", "a b", " a", "a ", "\t", "\n", "\u00a0", "\u2003", "\x00", "a. .b", ". ", "n" * 300, "", "ü", "日本"]
)
names = st.one_of(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"), odd_names, st.text(max_size=6))
numbers = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1),
    st.decimals(-1000, 1000, places=3),
    st.sampled_from([Decimal("1E+125"), Decimal("-9.9E-130"), Decimal("1E-130"), 0, Decimal("0.10")]),
)
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["true", "false", "12", "2026-01-01", "x" * 9000, "😀" * 9000, "x" * 40_000, "NaN", "null", ""]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts, st.binary(max_size=8))
sets = st.one_of(
    st.frozensets(st.text(max_size=3), min_size=1, max_size=3),
    st.frozensets(st.integers(-9, 9), min_size=1, max_size=3),
)
values = st.recursive(
    st.one_of(scalars, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
items = st.dictionaries(names.filter(lambda name: name not in ("", "pk")), values, max_size=6)


def deep(levels: int, leaf: Any = 1) -> Any:
    return leaf if levels == 0 else {"d": deep(levels - 1, leaf)}


EXTREMES: list[dict[str, Any]] = [
    {"deep": deep(31)},
    {"deep": deep(31, [1, "x", {"a": True}])},
    {"wide": {f"id-{n}": n for n in range(6000)}},
    {f"field-{n}": n for n in range(6000)},
    {"n" * 50_000: 1, "m" * 50_001: {"a": [1]}, "o": {"p" * 60_000: Decimal("12345678901234567890.123")}},
    {"n" * 40_000: 1},
    {"n" * 40_000: "no number"},
    {"text": "x" * 390_000},
    {"list": [[[], [{}]], [1, "a", None, {"b": [True, {}]}]]},
    {"a": 1, "a.b": 2, "a.b.c": {"d": 3}},
    {"a": {"b": {"c": 1}}, "a.b": "x", "a.": True},
]


@dataclass
class Target:
    """A sink on an index with the default body; on another one after some batches, since a full one learns nothing."""

    client: OpenSearch
    batches: int = 0
    index: str = ""
    versions: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**9)))

    def sink(self) -> OpenSearchSink:
        if self.batches % _BATCHES_OF_AN_INDEX == 0:
            self.index = f"any-item-{uuid4().hex[:12]}"
            text = f"table: any\ndocuments: [{{index: {self.index}, body: {{settings: {{number_of_replicas: 0}}}}}}]"
            self.compiled = compile_mapping(parse_mapping(text, source="any.yml"), "any", ["pk"])
            self.targets = Targets()
            prepare(self.client, self.compiled, change({"pk": "a"}).stream, self.targets)
        self.batches += 1
        return OpenSearchSink(self.client, lambda _table: self.compiled, self.targets)


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest) -> Target:
    """OpenSearch, and an index that the items of many examples meet."""
    servers: Servers = request.getfixturevalue("servers")
    endpoint = servers.environment()["CDC_OPENSEARCH_ENDPOINT"]
    return Target(opensearch_client(OpenSearchOptions(endpoint=endpoint)))


def judge(target: Target, batch: Sequence[dict[str, Any]]) -> None:
    sink = target.sink()
    changes = [
        change({"pk": f"k{number}"}, None, item, sequence=next(target.versions) * 10**20)
        for number, item in enumerate(batch)
    ]
    assert sink.write(changes, Deadline.after(60)) == [Applied()] * len(changes)
    for one in changes:
        judge_document(target.client, target.index, sink, one)


def judge_document(client: OpenSearch, index: str, sink: OpenSearchSink, one: Change) -> None:
    (write,) = sink.mapping_of("any").writes(one)
    assert isinstance(write, Put)
    found = document(client, index, write.id)
    assert found["_version"] == one.version
    source = found["_source"]
    aside = source.pop(ASIDE_FIELD, {})
    aside = _exact(aside) if isinstance(aside, str) else aside
    assert sorted(source.pop(ASIDE_NAMES_FIELD, [])) == sorted(aside)
    assert {**source, **aside} == _exact(write.source.decode())
    assert not source.keys() & aside.keys()


def document(client: OpenSearch, index: str, identifier: str) -> Any:
    url = client.transport.hosts[0]
    with urlopen(f"http://{url['host']}:{url['port']}/{index}/_doc/{identifier}") as answer:
        return _exact(answer.read().decode())


@pytest.mark.parametrize("item", EXTREMES, ids=lambda item: str(item)[:24])
def test_an_extreme_item_gets_its_document(target: Target, item: dict[str, Any]) -> None:
    judge(target, [item])


@settings(
    max_examples=max(1, ITEMS // _IN_A_BATCH),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
    database=None,
)
@given(batch=st.lists(items, min_size=_IN_A_BATCH, max_size=_IN_A_BATCH))
@example(batch=[{"a": True}, {"a": "yes"}, {"a": 1}, {"a": {"b": 1}}, {"a": [1, "x"]}, {"a": {}}, {"a.b": "x"}])
def test_any_item_gets_its_document_at_its_version(target: Target, batch: list[dict[str, Any]]) -> None:
    judge(target, batch)
