"""Mapping files, one YAML file a table: read, and checked for every fault. What they say is `cdc.mappings.model`'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cdc.errors import MappingError
from cdc.mappings.checks import across_files, faults_of, with_floats
from cdc.mappings.model import Mappings, TableMapping
from cdc.mappings.text import Fault, MappingText

__all__ = [
    "NO_SUCH_PLACE",
    "MappingFile",
    "load_mappings",
    "mapping_texts",
    "parse_mapping",
    "parse_mappings",
    "read_mappings",
]

NO_SUCH_PLACE = "there is no such file or folder"


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping file that was read. Where it has `faults`, `mapping` is what is left without the parts at fault."""

    mapping: TableMapping
    text: MappingText
    faults: tuple[Fault, ...]

    def problems(self, faults: Iterable[Fault]) -> Iterator[str]:
        """The faults, in the order of their lines, each with file, line and field."""
        return map(self.text.problem, sorted(faults, key=lambda fault: self.text.line(fault[0])))


def load_mappings(paths: Iterable[Path]) -> Mappings:
    """Read mapping files, and every `*.yml` and `*.yaml` of folders.

    Raises:
        MappingError: with every fault of every file.
    """
    files, problems = read_mappings(paths)
    if problems:
        raise MappingError(tuple(problems))
    return Mappings(tuple(file.mapping for file in files))


def read_mappings(paths: Iterable[Path]) -> tuple[list[MappingFile], list[str]]:
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
) -> tuple[list[MappingFile], list[str]]:
    """The mappings of these sources and texts, and every fault of all of them, after `problems` found before."""
    found, files = list(problems), []
    for source, text in texts:
        try:
            files.append(_parsed(text, source))
        except MappingError as error:
            found += error.problems
    faults = across_files([(file.mapping, file.faults) for file in files])
    for file, between in zip(files, faults, strict=True):
        found += file.problems((*file.faults, *between))
    return files, found


def parse_mapping(text: str, *, source: str) -> TableMapping:
    """Read and check the text of one mapping file.

    Raises:
        MappingError: with every fault in it, each with the file, the line and the field.
    """
    file = _parsed(text, source)
    if file.faults:
        raise MappingError(tuple(file.problems(file.faults)))
    return file.mapping


def _files(paths: Iterable[Path], problems: list[str]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(entry for entry in path.iterdir() if entry.suffix in (".yml", ".yaml"))
        elif path.exists():
            found.append(path)
        else:
            problems.append(f"{path}: {NO_SUCH_PLACE}")
    if not found and not problems:
        problems.append("no mapping file: a deployment needs one a table, such as mappings/shop.yml")
    return found


def _parsed(text: str, source: str) -> MappingFile:
    yaml = MappingText(text, source)
    tree, faults = _sound(yaml.tree)
    mapping = msgspec.convert(tree, TableMapping, strict=True)
    documents = tuple(msgspec.structs.replace(one, body=with_floats(one.body)) for one in mapping.documents)
    mapping = msgspec.structs.replace(mapping, documents=documents, source=source)
    return MappingFile(mapping, yaml, (*faults, *faults_of(mapping, [place for place, _ in faults])))


def _sound(tree: Any) -> tuple[Any, list[Fault]]:
    """The tree, without what is at fault in its names and types; in a start without faults nothing is looked for."""
    try:
        if isinstance(tree, dict) and "source" not in tree:  # a field of ours, and of no file
            msgspec.convert(tree, TableMapping, strict=True)
            return tree, []
    except msgspec.ValidationError:
        pass
    from cdc.mappings.shape import sound_part

    return sound_part(tree)
