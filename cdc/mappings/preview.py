"""Trying mappings: every fault of the files, and which documents an item becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any

import msgspec

from cdc.errors import ConfigError, MalformedRecord
from cdc.mappings.body import doubts_of
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.fields import fields_with_refused_names, refused_name
from cdc.mappings.files import MappingFile, load_mappings, read_mappings
from cdc.mappings.text import Fault
from cdc.mappings.writes import Put
from cdc.outcome import Rejected
from cdc.records.attributes import decode_item
from cdc.records.change import Change, Operation, ParsedImages, StreamView
from cdc.records.sequence import SequenceNumber
from cdc.records.stream import Stream

__all__ = ["Findings", "documents_of_item", "findings_of"]

_STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/2020-01-01T00:00:00.000"
_SHOWN_NAMES = 8


@dataclass(frozen=True, slots=True)
class Findings:
    """How many mapping files can be read, what is wrong in them, and what probably is."""

    files: int
    problems: list[str]
    warnings: list[str]


def findings_of(paths: Sequence[Path]) -> Findings:
    """Every fault of all files, transforms that can't be loaded included, and doubts about their bodies."""
    files, problems = read_mappings(paths)
    problems += [problem for file in files for problem in file.problems(_of_transforms(file))]
    doubts = [problem for file in files for problem in file.problems(_of_bodies(file))]
    return Findings(len(files), problems, doubts)


def _of_transforms(file: MappingFile) -> Iterator[Fault]:
    for position, document in enumerate(file.mapping.documents):
        place = ("documents", position, "transform")
        if document.transform is None or any(place == faulty for faulty, _ in file.faults):
            continue
        alone = msgspec.structs.replace(document, where={})
        try:
            compile_mapping(msgspec.structs.replace(file.mapping, documents=(alone,)), file.mapping.table)
        except ConfigError as error:
            text = error.message.removeprefix(f"{file.mapping.source}: ").removeprefix("transform: ")
            yield place, f"{text} → {error.remedy}" if error.remedy else text


def _of_bodies(file: MappingFile) -> Iterator[Fault]:
    for position, document in enumerate(file.mapping.documents):
        for place, text in doubts_of(document.body):
            yield ("documents", position, "body", *place), text


def documents_of_item(mapping_file: Path, item_file: Path, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Index, id, routing and source of every document that the item of a JSON file becomes.

    The item is plain JSON, made into DynamoDB JSON by dynamodb-json, or DynamoDB JSON; or what `aws dynamodb get-item`
    prints, which has the item below `Item`.

    Raises:
        ConfigError: mapping or item can't be read, or don't fit each other.
    """
    if mapping_file.is_dir():
        raise ConfigError(f"{mapping_file}: is a folder", remedy="Name one mapping file, such as mappings/shop.yml.")
    (mapping,) = load_mappings([mapping_file]).files
    item = _item(item_file, keys)
    table = mapping.table if not mapping.is_glob else "any"
    change = Change(
        operation=Operation.INSERT,
        stream=Stream.dynamodb(_STREAM.format(table=table)),
        sequence=SequenceNumber.parse("1"),
        view=StreamView.NEW_AND_OLD_IMAGES,
        images=ParsedImages({name: item[name] for name in keys}, None, item),
        created_micros=0,
    )
    documents = []
    for write in compile_mapping(mapping, table, sorted(keys)).writes(change):
        if isinstance(write, Rejected):
            raise ConfigError(f"{item_file}: {write.cause}", remedy=write.detail)
        if isinstance(write, Put):
            source = loads(write.source, parse_float=Decimal)
            if not write.may_set_aside and (name := refused_name(source)) is not None:
                raise ConfigError(
                    f"{item_file}: OpenSearch takes no field named {name!r}", remedy="Rename it: fields: rename."
                )
            aside = {*write.unfit, *fields_with_refused_names(source)}
            documents.append(
                {
                    "index": write.index,
                    "id": write.id,
                    "routing": write.routing,
                    "source": write.source.decode(),
                    "set_aside": [name for name in source if name in aside],
                }
            )
    return documents


def _item(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The item of the file, in DynamoDB JSON, with its key attributes."""
    read = _json(path)
    if isinstance(read, dict) and isinstance(read.get("Item"), dict) and not set(keys) <= read.keys():
        read = read["Item"]  # as get-item prints it
    if isinstance(read, dict) and isinstance(read.get("Items"), list) and not set(keys) <= read.keys():
        raise ConfigError(
            f"{path}: holds {len(read['Items'])} items, as scan and query print them",
            remedy=f"Take one: jq '.Items[0]' {path} > one.json",
        )
    if not isinstance(read, dict) or not read:
        raise ConfigError(f"{path}: holds no item", remedy="An item is a JSON object with its attributes.")
    missing = [name for name in keys if name not in read]
    if missing:
        names = sorted(read)
        shown = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        raise ConfigError(
            f"{path}: the item lacks the key attribute {missing[0]!r}; it has {shown}",
            remedy=f"--keys names the table's key attributes, and is {','.join(keys)} now: --keys {names[0]}",
        )
    try:
        decode_item(read)
    except MalformedRecord:
        return _from_plain(read)
    return read


def _json(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path}",
            remedy=f"Make one: aws dynamodb get-item --table-name … --key … > {path}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}", remedy="--item names a file of JSON in UTF-8.") from error
    if not text.strip():
        raise ConfigError(f"{path}: is empty", remedy="`aws dynamodb get-item` prints nothing if it finds no item.")
    try:
        return loads(text, parse_float=Decimal)
    except JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}: is no JSON: {error.msg}", remedy="--item names a file of JSON."
        ) from error


def _from_plain(item: dict[str, Any]) -> dict[str, Any]:
    try:
        from dynamodb_json import json_util
    except ImportError as error:
        raise ConfigError("dynamodb-json is not installed", remedy="In a checkout: pip install '.[cli]'") from error
    return loads(json_util.dumps(item))  # type: ignore[no-any-return]  # an object, as `item` is
