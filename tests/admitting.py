"""Processes that start on one index, each with a mapping of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.records.stream import Stream
from cdc.sinks.opensearch.admission import OnChangedMapping
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedOpenSearch

__all__ = ["mapping", "meta", "start", "stream"]


def stream(table: str) -> Stream:
    return Stream.dynamodb(f"arn:aws:dynamodb:eu-west-1:111122223333:table/{table}/stream/2026-01-15T09:30:00.123")


def mapping(
    *lines: str, table: str = "shop", keys: Sequence[str] = ("pk",), source: str = "shop.yml"
) -> CompiledMapping:
    """A mapping whose documents have these lines each."""
    documents = "".join(f"  - {line}\n" for line in lines)
    return compile_mapping(parse_mapping(f"table: {table}\ndocuments:\n{documents}", source=source), table, keys)


def start(
    server: Any, compiled: CompiledMapping, on_changed_mapping: OnChangedMapping = "refuse", *, remember: bool = True
) -> None:
    """A process of its own: nothing is shared with others but the index."""
    prepare(
        server, compiled, stream(compiled.table), Targets(), remember=remember, on_changed_mapping=on_changed_mapping
    )


def meta(server: SimulatedOpenSearch, index: str = "orders-v1") -> dict[str, Any]:
    found: dict[str, Any] = server.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["cdc"]
    return found
