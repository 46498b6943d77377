"""Trying mappings: every fault of the files, and which documents an item becomes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

import msgspec

from cdc.errors import ConfigError, MalformedRecord
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.fields import refused_name
from cdc.mappings.files import load_mappings, read_mappings
from cdc.mappings.writes import Put
from cdc.outcome import Rejected
from cdc.records.attributes import decode_item
from cdc.records.change import Change, Operation, StreamView
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream

__all__ = ["documents_of_item", "problems_of"]

_STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/2020-01-01T00:00:00.000"


def problems_of(paths: Sequence[Path]) -> tuple[int, list[str]]:
    """How many mapping files can be read, and every fault of all of them, transforms that can't be loaded included."""
    files, problems = read_mappings(paths)
    for mapping in files:
        for position, document in enumerate(mapping.documents):
            try:
                compile_mapping(msgspec.structs.replace(mapping, documents=(document,)), mapping.table)
            except ConfigError as error:
                fault = str(error).removeprefix(f"{mapping.source}: ")
                problems.append(f"{mapping.source}: documents[{position}].{fault}")
    return len(files), problems


def documents_of_item(mapping_file: Path, item_file: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Index, id, routing and source of every document that the item of a JSON file becomes.

    The item is plain JSON, made into DynamoDB JSON by dynamodb-json, or DynamoDB JSON.

    Raises:
        ConfigError: mapping or item can't be read, or don't fit each other.
    """
    if mapping_file.is_dir():
        raise ConfigError(f"{mapping_file}: is a folder", remedy="Name one mapping file, such as mappings/shop.yml.")
    (mapping,) = load_mappings([mapping_file]).files
    item = _dynamodb_json(item_file)
    missing = [name for name in keys if name not in item]
    if missing:
        raise ConfigError(f"{item_file}: lacks the key attribute {missing[0]!r}", remedy="Name the keys with --keys.")
    table = mapping.table if not mapping.is_glob else "any"
    change = Change(
        operation=Operation.INSERT,
        stream=Stream.dynamodb(_STREAM.format(table=table)),
        sequence=SequenceNumber.parse("1"),
        view=StreamView.NEW_AND_OLD_IMAGES,
        raw_keys={name: item[name] for name in keys},
        raw_before=None,
        raw_after=item,
        created_micros=0,
    )
    documents = []
    for write in compile_mapping(mapping, table, sorted(keys)).writes(change):
        if isinstance(write, Rejected):
            raise ConfigError(f"{item_file}: {write.cause}", remedy=write.detail)
        if isinstance(write, Put):
            source = loads(write.source, parse_float=Decimal)
            if (name := refused_name(source)) is not None:
                raise ConfigError(
                    f"{item_file}: OpenSearch takes no field named {name!r}", remedy="Rename it: fields: rename."
                )
            documents.append(
                {"index": write.index, "id": write.id, "routing": write.routing, "source": write.source.decode()}
            )
    return documents


def _dynamodb_json(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        item = loads(text, parse_float=Decimal)
    except (OSError, JSONDecodeError) as error:
        raise ConfigError(f"{path}: is no JSON: {error}") from error
    if not isinstance(item, dict) or not item:
        raise ConfigError(f"{path}: is no item: an object with attributes")
    try:
        decode_item(item)
    except MalformedRecord:
        return _from_plain(item)
    return item


def _from_plain(item: dict[str, Any]) -> dict[str, Any]:
    try:
        from dynamodb_json import json_util
    except ImportError as error:
        raise ConfigError("dynamodb-json is not installed", remedy="pip install 'dynamodb-cdc[cli]'") from error
    return loads(json_util.dumps(item))  # type: ignore[no-any-return]  # an object, as `item` is
