"""The contract of a sink, asked of each of ours: the one in memory, OpenSearch and S3, real and simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cdc import Sink
from cdc.archive import read_archive
from cdc.core import load_core
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.records.change import Change
from cdc.records.decoding import Record
from cdc.records.reading import RecordReader
from cdc.sinks.archive_s3 import S3Archive
from cdc.sinks.functions import FunctionSink
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import (
    Claim,
    MemorySink,
    SimulatedClock,
    SimulatedOpenSearch,
    SimulatedS3,
    change,
    contract,
    sink_contract,
)


@pytest.fixture(autouse=True, params=[True, False], ids=["read by the core", "read by Python"])
def read_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The changes that the contract writes, read from their records by the core or without it."""
    core = load_core()
    if request.param and core is None:
        pytest.skip("this installation has no core: `make core` builds it")
    reader = RecordReader(core if request.param else None)
    made = contract.contract_changes

    def changes() -> list[Record]:
        read = list(reader.lambda_event({"Records": [one.record for one in made()]}))
        assert all(isinstance(one, Change) and (one.core is not None) is request.param for one in read)
        return read

    monkeypatch.setattr(contract, "contract_changes", changes)


@dataclass
class Destination:
    """A way to make sinks onto one destination, and to look at what it holds."""

    sink: Callable[[], Sink]
    holds: Callable[[], Any]


@pytest.fixture(params=["memory", "simulated opensearch", "simulated s3", "simulated functions", "opensearch", "s3"])
def destination(request: pytest.FixtureRequest) -> Destination:
    maker: Callable[[pytest.FixtureRequest], Destination] = {
        "memory": _memory,
        "simulated opensearch": lambda _: _index(SimulatedOpenSearch(SimulatedClock()), "orders"),
        "simulated s3": lambda _: _archive(SimulatedS3(SimulatedClock(), page_size=2), "archive"),
        "simulated functions": _functions,
        "opensearch": lambda asked: _index(asked.getfixturevalue("opensearch"), asked.getfixturevalue("index")),
        "s3": lambda asked: _archive(asked.getfixturevalue("aws")("s3"), asked.getfixturevalue("bucket")),
    }[request.param]
    return maker(request)


def _memory(_request: pytest.FixtureRequest) -> Destination:
    sink = MemorySink()
    return Destination(lambda: sink, lambda: sink.items)


def _functions(_request: pytest.FixtureRequest) -> Destination:
    """Functions that bear repetition: each notes the identities of the changes it was given."""
    seen: set[str] = set()

    def note(one: Any) -> None:
        seen.add(str(one.identity))

    return Destination(lambda: FunctionSink(on_insert=note, on_modify=note, on_remove=note), lambda: set(seen))


def _index(client: Any, index: str) -> Destination:
    compiled = compile_mapping(
        parse_mapping(f"table: shop\ndocuments: [{{index: {index}}}]", source="shop.yml"), "shop", ["pk"]
    )
    targets = Targets()
    prepare(client, compiled, change({"pk": "a"}).stream, targets)

    def holds() -> Any:
        client.indices.refresh(index=index)
        hits = client.search(index=index, params={"version": "true", "size": 100})["hits"]["hits"]
        return {hit["_id"]: (hit["_version"], hit["_source"]) for hit in hits}

    return Destination(lambda: OpenSearchSink(client, lambda _table: compiled, targets), holds)


def _archive(client: Any, bucket: str) -> Destination:
    mapping = parse_mapping("table: shop", source="shop.yml")
    return Destination(
        lambda: S3Archive(client, bucket, lambda _table: mapping),
        lambda: [archived.line for archived in read_archive(client, bucket, "cdc")],
    )


@pytest.mark.parametrize("claim", sink_contract, ids=str)
def test_a_sink_keeps_the_contract(destination: Destination, claim: Claim) -> None:
    claim(destination.sink, destination.holds)
