"""Carried mapping: the rules by which the documents of a table in one concrete index are made, kept by that index.

Every process writes to an index by what the index carries, whatever its own mapping file says: so processes of an old
and of a new file write each index by its own rules, before, while and after it is rebuilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.identity import pattern_of_text, text_of_pattern
from cdc.mappings.model import DocumentRule, FieldRule, TableMapping
from cdc.mappings.transforms import transform_digest

__all__ = ["CarriedMapping", "CarriedRule", "carried", "compiled_from"]


class CarriedRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document of a mapping, with all that makes it but the body of its index."""

    where: str = "{}"
    """The pattern as JSON text, in which numbers keep their digits."""
    id: tuple[str, ...] = ()
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    transform: str | None = None
    transform_digest: str = ""
    unless_only: tuple[str, ...] = ()
    on_remove: Literal["delete", "tombstone", "keep"] = "delete"
    on_expiry: Literal["delete", "tombstone", "keep"] | None = None
    on_unfit: Literal["set_aside", "dead_letter"] = "set_aside"
    routing: str | None = None

    def rule(self, index: str) -> DocumentRule:
        """The rule of a mapping, for documents of `index`."""
        return DocumentRule(
            index=index,
            where=pattern_of_text(self.where),
            id=self.id,
            fields=FieldRule(include=self.include, exclude=self.exclude, rename=self.rename),
            transform=self.transform,
            unless_only=self.unless_only,
            on_remove=self.on_remove,
            on_expiry=self.on_expiry,
            on_unfit=self.on_unfit,
            routing=self.routing,
        )


class CarriedMapping(msgspec.Struct, frozen=True, omit_defaults=True):
    """The rules of one table's documents in one index, in the order in which they are asked."""

    rules: tuple[CarriedRule, ...]


def carried(compiled: CompiledMapping, index: str) -> CarriedMapping:
    """The rules of `index` (its name in the mapping), to be carried by the concrete index."""
    return CarriedMapping(
        tuple(
            CarriedRule(
                where=text_of_pattern(owner.document.where),
                id=owner.document.id,
                include=owner.document.fields.include,
                exclude=owner.document.fields.exclude,
                rename=owner.document.fields.rename,
                transform=owner.document.transform,
                transform_digest=owner.transform_digest,
                unless_only=owner.document.unless_only,
                on_remove=owner.document.on_remove,
                on_expiry=owner.document.on_expiry,
                on_unfit=owner.document.on_unfit,
                routing=owner.document.routing,
            )
            for owner in compiled.owners
            if owner.index == index
        )
    )


def compiled_from(
    mapping: CarriedMapping, table: str, keys: Sequence[str], concrete: str, source: str
) -> CompiledMapping:
    """The carried mapping, compiled; all its rules write to `concrete`.

    Args:
        keys: the table's key attributes; none where they are not known.
        concrete: the name that the writes are sent to.
        source: the path of the mapping file here: transforms are loaded from beside it, and dead letters name it.

    Raises:
        ConfigError: a transform is not here, or is another than the one that the index carries; or an id or a routing
            does not fit the table's keys.
    """
    for rule in mapping.rules:
        if rule.transform is not None:
            _hold_to_digest(rule.transform, rule.transform_digest, concrete, source)
    rules = tuple(rule.rule(concrete) for rule in mapping.rules)
    return compile_mapping(TableMapping(table, documents=rules, source=source), table, keys or None)


def _hold_to_digest(name: str, digest: str, concrete: str, source: str) -> None:
    """A function can't be carried: it is held to the text that the index's documents were made by."""
    try:
        here = transform_digest(name, source)
    except OSError:
        here = ""
    if here == digest:
        return
    raise ConfigError(
        f"{source}: the documents of {concrete} are made by the transform {name}, "
        + ("which is another one here" if here else "which is not here"),
        remedy="Deploy the code of both beside each other: give a changed transform a name and a module of its own.",
    )
