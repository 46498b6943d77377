"""Mapping files, one YAML file a table: read, and checked for every fault. What they say is `cdc.mappings.model`'s."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cdc.errors import ConfigError, MappingError
from cdc.mappings.model import (
    TABLE,
    TOMBSTONE_FIELD,
    ArchiveRule,
    DocumentRule,
    FieldRule,
    Mappings,
    TableMapping,
    resolved_index,
    split_path,
)
from cdc.mappings.pattern import Pattern, compile_pattern

__all__ = ["load_mappings", "mapping_texts", "parse_mapping", "parse_mappings", "read_mappings"]

_INDEX = re.compile(r"[^A-Z\s\"*\\<|,>/?#:]+")


class _Loader(yaml.SafeLoader):
    """Safe, exact in numbers, and refuses what YAML allows but nobody means: the same key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {name!r} is there twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _exact_float(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A pattern compares by exact value: a float would have rounded it."""
    text = loader.construct_scalar(node).replace("_", "")
    try:
        return Decimal(text)
    except InvalidOperation:
        return loader.construct_yaml_float(node)  # .inf and .nan


_Loader.add_constructor("tag:yaml.org,2002:float", _exact_float)


def _with_floats(value: Any) -> Any:
    """For OpenSearch's own bodies, which are JSON."""
    match value:
        case Decimal():
            return float(value)
        case dict():
            return {name: _with_floats(inner) for name, inner in value.items()}
        case list():
            return [_with_floats(inner) for inner in value]
    return value


def load_mappings(paths: Iterable[Path]) -> Mappings:
    """Read mapping files, and every `*.yml` and `*.yaml` of folders.

    Raises:
        MappingError: with every fault of every file.
    """
    files, problems = read_mappings(paths)
    if problems:
        raise MappingError(tuple(problems))
    return Mappings(tuple(files))


def read_mappings(paths: Iterable[Path]) -> tuple[list[TableMapping], list[str]]:
    """The files that can be read, and every fault of all of them."""
    return parse_mappings(*mapping_texts(paths))


def mapping_texts(paths: Iterable[Path]) -> tuple[list[tuple[str, str]], list[str]]:
    """Each file's path and text, and what can't be read."""
    problems: list[str] = []
    texts: list[tuple[str, str]] = []
    for path in _files(paths, problems):
        try:
            texts.append((str(path), path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}: can't be read: {error}")
    return texts, problems


def parse_mappings(
    texts: Iterable[tuple[str, str]], problems: Sequence[str] = ()
) -> tuple[list[TableMapping], list[str]]:
    """The mappings of these sources and texts, and every fault of all of them, after `problems` found before."""
    found, files = list(problems), []
    for source, text in texts:
        try:
            files.append(parse_mapping(text, source=source))
        except MappingError as error:
            found += error.problems
    return files, found + _across(files)


def _files(paths: Iterable[Path], problems: list[str]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(entry for entry in path.iterdir() if entry.suffix in (".yml", ".yaml"))
        elif path.exists():
            found.append(path)
        else:
            problems.append(f"{path}: there is no such file or folder")
    if not found and not problems:
        problems.append("no mapping file: a deployment needs one a table, such as mappings/shop.yml")
    return found


def parse_mapping(text: str, *, source: str) -> TableMapping:
    """Read and check the text of one mapping file.

    Raises:
        MappingError: with every fault in it, each with the file and the field, or the line for faults of the YAML.
    """
    try:
        tree = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "YAML"
        raise MappingError((f"{source}: {where}: {getattr(error, 'problem', None) or error}",)) from error
    problems: list[str] = []
    _check_shape(tree, TableMapping, "", problems)
    if not problems:
        mapping = msgspec.structs.replace(_converted(tree), source=source)
        problems += _check_meaning(mapping)
    if problems:
        raise MappingError(tuple(f"{source}: {problem}" for problem in problems))
    return mapping


def _converted(tree: Any) -> TableMapping:
    mapping = msgspec.convert(tree, TableMapping, strict=True)
    documents = tuple(msgspec.structs.replace(one, body=_with_floats(one.body)) for one in mapping.documents)
    return msgspec.structs.replace(mapping, documents=documents)


def _check_shape(tree: Any, kind: Any, at: str, problems: list[str]) -> None:
    """Collect every fault of names and types, where msgspec alone would stop at the first."""
    if not isinstance(tree, dict):
        problems.append(f"{at or 'the file'}: is a map of fields, not {_kind(tree)}")
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name != "source"}
    for name, value in tree.items():
        here = f"{at}.{name}" if at else str(name)
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            problems.append(
                f"{here}: unknown field; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}")
            )
        elif name == "documents" and isinstance(value, list):
            for position, entry in enumerate(value):
                _check_shape(entry, DocumentRule, f"{here}[{position}]", problems)
        elif name == "fields":
            _check_shape(value, FieldRule, here, problems)
        elif name == "archive" and isinstance(value, dict):
            _check_shape(value, ArchiveRule, here, problems)
        else:
            try:
                msgspec.convert(value, fields[name].type, strict=True)
            except msgspec.ValidationError as error:
                problems.append(f"{here}: {_sentence(error)}")
    problems += [
        f"{f'{at}.' if at else ''}{name}: is missing"
        for name, field in fields.items()
        if field.required and name not in tree
    ]


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", type(None): "nothing"}.get(type(value), type(value).__name__)


def _sentence(error: msgspec.ValidationError) -> str:
    return str(error).replace(" - at `$`", "")


def _check_meaning(mapping: TableMapping) -> list[str]:
    problems: list[str] = []
    if not mapping.table:
        problems.append("table: is empty; it is the table's name or a glob")
    if not mapping.documents and not mapping.archived:
        problems.append("documents: there are none and archive is false: nothing would be done; remove the file")
    for position, document in enumerate(mapping.documents):
        problems += [f"documents[{position}].{problem}" for problem in _check_document(document, mapping)]
    problems += _check_shared_indices(mapping)
    return problems


def _check_document(document: DocumentRule, mapping: TableMapping) -> list[str]:
    problems: list[str] = []
    index = document.index.replace(TABLE, "t")
    if not _INDEX.fullmatch(index) or index[0] in "-_+" or index in (".", ".."):
        problems.append(
            f"index: {document.index!r} is no name that OpenSearch takes; use small letters, digits, - and _"
        )
    try:
        pattern: Pattern | None = compile_pattern(document.where)
    except ConfigError as error:
        problems.append(error.message)
        pattern = None
    if mapping.is_glob and TABLE not in document.index and TABLE not in document.id:
        problems.append(
            "index: several tables would write the same documents; "
            f'put the table in the index ("{TABLE}-{document.index}") or in the id (id: ["{TABLE}", …])'
        )
    if pattern and document.unless_only and document.transform is None:
        included = {split_path(path)[0] for path in document.fields.include or ()}
        if included and not included - {split_path(path)[0] for path in document.unless_only}:
            problems.append("unless_only: names every included field: no change would ever be sent")
    problems += [
        f"body.{name}: is a map of OpenSearch's {name}"
        for name in ("settings", "mappings", "aliases")
        if not isinstance(document.body.get(name, {}), dict)
    ]
    targets = list(document.fields.rename.values())
    problems += [
        f"fields.rename: two fields would be named {name!r}" for name in {n for n in targets if targets.count(n) > 1}
    ]
    if TOMBSTONE_FIELD in targets:
        problems.append(f"fields.rename: {TOMBSTONE_FIELD} is reserved for tombstones")
    if document.on_remove == "tombstone" or document.on_expiry == "tombstone":
        included_tops = {split_path(path)[0] for path in document.fields.include or ()}
        if TOMBSTONE_FIELD in included_tops:
            problems.append(f"fields.include: {TOMBSTONE_FIELD} is reserved for tombstones")
    if document.transform is not None and not re.fullmatch(r"[\w.]+:[\w.]+", document.transform):
        problems.append(f"transform: {document.transform!r} is not module:function, such as shop:order")
    return problems


def _index_of(document: DocumentRule, mapping: TableMapping) -> str:
    return document.index if mapping.is_glob else resolved_index(document.index, mapping.table)


def _check_shared_indices(mapping: TableMapping) -> list[str]:
    """Documents that share an index must agree on what makes a document one: an item has one owner there."""
    problems: list[str] = []
    first: dict[str, tuple[int, DocumentRule]] = {}
    for position, document in enumerate(mapping.documents):
        other_position, other = first.setdefault(_index_of(document, mapping), (position, document))
        problems += [
            f"documents[{position}].{field}: differs from documents[{other_position}], "
            f"which writes to the same index {document.index!r}; make them equal, or use another index"
            for field in ("id", "routing", "on_remove", "on_expiry", "body")
            if getattr(document, field) != getattr(other, field)
        ]
    return problems


def _across(files: Sequence[TableMapping]) -> list[str]:
    problems: list[str] = []
    tables: dict[str, str] = {}
    writers: dict[str, TableMapping] = {}
    for file in files:
        other = tables.setdefault(file.table, file.source)
        if other != file.source:
            problems.append(
                f"{file.source}: table: {file.table!r} has a mapping in {other} already; join the two files"
            )
        for document in file.documents:
            writer = writers.setdefault(_index_of(document, file), file)
            if writer.source != file.source and TABLE not in document.id:
                problems.append(
                    f"{file.source}: index: {writer.source} writes to {document.index!r} too; "
                    f'put the table in the index or in the id (id: ["{TABLE}", …])'
                )
    return problems
