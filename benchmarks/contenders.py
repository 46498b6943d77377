"""Contenders: what people write with the usual libraries, each in its quickest plain form.

All of them make of a record's images what ours makes: what has changed, and the two lines of a bulk request. They do
less: they name the top-level attributes that differ where ours gives the paths and both values, they check nothing,
and their documents have no version.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from benchmarks.results import CannotRun
from benchmarks.shapes import STREAM
from cdc.archive import archived_of
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.records.change import Change
from cdc.records.decoding import Record
from cdc.records.reading import RecordReader
from cdc.sinks.opensearch.bulk import action_bytes
from consumers.runtime import record_reader
from consumers.settings import load_settings

__all__ = ["INDEX", "Lines", "Parsed", "floor", "mapping", "others", "ours", "ours_from_bytes", "reader"]

INDEX = "orders"

Parsed = Mapping[str, Any]
Lines = list[bytes]
Image = dict[str, Any]


def mapping() -> CompiledMapping:
    """The plainest mapping: every item, every attribute."""
    return compile_mapping(parse_mapping(f"table: shop\ndocuments: [{{index: {INDEX}}}]", source="shop.yml"), "shop")


def reader() -> RecordReader:
    """The product's own, with the core where there is one; `CDC_CORE=off`: without."""
    return record_reader(load_settings(os.environ))


def ours(event: Parsed, compiled: CompiledMapping, records: RecordReader) -> Lines:
    """The way of a Lambda event's records in the product, with all differences asked for."""
    lines: Lines = []
    for change in _changes(records.lambda_event(event)):
        change.differences()
        lines += _written(change, compiled)
    return lines


def ours_from_bytes(
    payloads: Sequence[bytes], compiled: CompiledMapping, records: RecordReader, *, with_values: bool
) -> Lines:
    """The way of a batch of the KCL's in the product, to bulk operations and archive lines, with the paths of all
    differences asked for, or their values on both sides too."""
    lines: Lines = []
    for change in _changes(records.adapter(payloads, STREAM)):
        if with_values:
            change.differences()
        else:
            change.changed_paths()
        lines += _written(change, compiled)
        lines.append(archived_of(change).line)
    return lines


def _changes(records: Iterable[Record]) -> Iterator[Change]:
    for change in records:
        if not isinstance(change, Change):
            raise change.error
        yield change


def _written(change: Change, compiled: CompiledMapping) -> Lines:
    return [
        action_bytes(write, require_alias=True)  # type: ignore[arg-type]  # none is rejected
        for write in compiled.writes(change)
    ]


def others() -> dict[str, Callable[[Parsed], Lines]]:
    """The contenders by name, each from a parsed event to lines.

    Raises:
        CannotRun: a library is not installed.
    """
    try:
        from aws_lambda_powertools.shared.dynamodb_deserializer import TypeDeserializer as Powertools
        from boto3.dynamodb.types import Binary, TypeDeserializer
        from dynamodb_json import json_util
    except ImportError as error:
        raise CannotRun(f"{error.name} is not installed: pip install '.[bench]'") from None

    class FromJson(TypeDeserializer):
        """boto3's takes binary as bytes only, and a Lambda event has base64 text."""

        def _deserialize_b(self, value: str) -> Binary:
            return Binary(b64decode(value))

    def of_boto3(value: object) -> object:
        if isinstance(value, Decimal):
            return int(value) if value == value.to_integral_value() else float(value)
        if isinstance(value, set):
            return list(value)
        if isinstance(value, Binary):
            binary: Any = value  # what its stubs name differs between versions
            return b64encode(binary.value).decode()
        raise TypeError(type(value).__name__)

    boto3, powertools = FromJson().deserialize, Powertools().deserialize
    return {
        "boto3 + json": _plain(lambda image: {name: boto3(value) for name, value in image.items()}, of_boto3),
        "Powertools + json": _plain(lambda image: {name: powertools(value) for name, value in image.items()}, of_boto3),
        "dynamodb-json": _plain(lambda image: json_util.loads(image, as_dict=True), _of_dynamodb_json),
    }


def _of_dynamodb_json(value: object) -> object:
    return list(value) if isinstance(value, set) else str(value)


def _plain(decode: Callable[[Image], Image], default: Callable[[object], object]) -> Callable[[Parsed], Lines]:
    def lines(event: Parsed) -> Lines:
        made: Lines = []
        for record in event["Records"]:
            facts = record["dynamodb"]
            before, after = decode(facts["OldImage"]), decode(facts["NewImage"])
            {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
            action = json.dumps({"index": {"_index": INDEX, "_id": f"{after['pk']}|{after['sk']}"}})
            made.append(f"{action}\n{json.dumps(after, default=default)}\n".encode())
        return made

    return lines


def floor(payloads: Iterable[bytes]) -> None:
    """Nothing but parsing the bytes, one record after the other."""
    for payload in payloads:
        orjson.loads(payload)
