"""The model of mapping files: which items of a table go to which index, as what document, and what is archived.

`cdc.mappings.files` reads and checks them; `cdc.mappings.compiled` makes documents of changes by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from cdc.errors import ConfigError

__all__ = [
    "ASIDE_FIELD",
    "ASIDE_NAMES_FIELD",
    "RESERVED_FIELDS",
    "TABLE",
    "TOMBSTONE_FIELD",
    "ArchiveRule",
    "DocumentRule",
    "FieldRule",
    "Mappings",
    "TableMapping",
    "joined_path",
    "resolved_index",
    "split_path",
]

TOMBSTONE_FIELD = "_cdc_tombstone"
ASIDE_FIELD = "_cdc_aside"
"""Holds the attributes that the index refuses, whole and not searched."""
ASIDE_NAMES_FIELD = "_cdc_aside_names"
"""Holds the names of those attributes, to be searched and counted."""
RESERVED_FIELDS = frozenset((TOMBSTONE_FIELD, ASIDE_FIELD, ASIDE_NAMES_FIELD))
"""Fields of documents that are ours: neither a mapping nor an attribute may write them."""
TABLE = "{table}"
"""Stands for the table's name in an index and in an id."""


class FieldRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which attributes a document has. Dotted paths reach into maps; a dot of a name itself is written `\\.`."""

    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = {}


class DocumentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One document that items of the table become."""

    index: str
    where: dict[str, Any] = {}
    id: tuple[str, ...] = ()
    fields: FieldRule = FieldRule()
    transform: str | None = None
    unless_only: tuple[str, ...] = ()
    on_remove: Literal["delete", "tombstone", "keep"] = "delete"
    on_expiry: Literal["delete", "tombstone", "keep"] | None = None
    on_unfit: Literal["set_aside", "dead_letter"] = "set_aside"
    routing: str | None = None
    body: dict[str, Any] = {}


class ArchiveRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The attributes of a table's items that the archive leaves out."""

    exclude: tuple[str, ...] = ()


class TableMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping file. `source` is its path, as problems and dead letters name it."""

    table: str
    documents: tuple[DocumentRule, ...] = ()
    archive: bool | ArchiveRule = True
    source: str = ""

    @property
    def is_glob(self) -> bool:
        """Does it speak for every table whose name fits?"""
        return any(mark in self.table for mark in "*?[")

    @property
    def archived(self) -> bool:
        """Do the table's changes go to the archive?"""
        return self.archive is not False


@dataclass(frozen=True, slots=True)
class Mappings:
    """All mapping files of a deployment."""

    files: tuple[TableMapping, ...]

    def find(self, table: str) -> TableMapping | None:
        """The mapping of `table`: the file that names it, else the one whose glob fits; None if none does.

        Raises:
            ConfigError: several globs do.
        """
        named = [file for file in self.files if file.table == table]
        fitting = named or [file for file in self.files if file.is_glob and fnmatchcase(table, file.table)]
        if len(fitting) > 1:
            sources = " and ".join(file.source for file in fitting)
            raise ConfigError(
                f"the globs of {sources} both fit the table {table!r}", remedy=f"Name it in one file: `table: {table}`."
            )
        return fitting[0] if fitting else None

    def of(self, table: str) -> TableMapping:
        """The mapping of `table`, as `find` has it.

        Raises:
            ConfigError: none names it, or several globs do.
        """
        found = self.find(table)
        if found is None:
            known = ", ".join(file.table for file in self.files) or "none"
            raise ConfigError(
                f"no mapping names the table {table!r} (there are mappings for: {known})",
                remedy=f"Add a file with `table: {table}` to the mappings, or set CDC_UNMAPPED=skip.",
            )
        return found


def resolved_index(index: str, table: str) -> str:
    """The name of the index for `table`."""
    return index.replace(TABLE, table.lower())


def split_path(text: str) -> tuple[str, ...]:
    """The attribute names of a dotted path, `\\.` being a dot of a name itself."""
    return tuple(part.replace("\0", ".") for part in text.replace("\\.", "\0").split("."))


def joined_path(names: tuple[str, ...]) -> str:
    """The dotted path of attribute names, as `split_path` takes it apart."""
    return ".".join(name.replace(".", "\\.") for name in names)
