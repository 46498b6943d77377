"""LiveIndex: an index as it stands: what it remembers, its types and settings, and where an item's document is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.document_id import document_id, key_text
from cdc.mappings.identity import RememberedDocuments, differences, documents_in
from cdc.mappings.model import TABLE
from cdc.mappings.pattern import Pattern, compile_pattern
from cdc.rebuilds.document_fields import FieldCounts
from cdc.rebuilds.field_types import Types, changed_settings, changed_types, named_paths, types_of
from cdc.rebuilds.mapping_diff import RuleChange, TypeChange
from cdc.rebuilds.scratch import asked
from cdc.records.attributes import RawItem
from cdc.sinks.opensearch.bodies import body_digest
from cdc.sinks.opensearch.memory import Memory

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["LiveIndex"]

_LONGEST = 80
_OF_FIELDS = ("properties", "_meta")


@dataclass(frozen=True)
class LiveIndex:
    """One concrete index behind a name of the mapping, beside what that mapping says now."""

    index: str
    concrete: str
    compiled: CompiledMapping
    mappings: Mapping[str, Any]
    settings: Mapping[str, str]
    """Flat."""

    @classmethod
    def of(cls, client: OpenSearch, index: str, compiled: CompiledMapping) -> LiveIndex:
        """The index as OpenSearch tells it.

        Raises:
            ConfigError: there is none, or several have the name, or it may not be read.
            SinkUnavailable: OpenSearch is out of reach.
        """
        found = asked(
            f"the index {index} can't be read",
            "Check `index` in the mapping, and that this user may read it: a new index is made by `cdc backfill`.",
            lambda: client.indices.get(index=index, params={"flat_settings": "true"}),
        )
        if len(found) != 1:
            raise ConfigError(
                f"{index} stands for {len(found)} indices: {', '.join(sorted(found))}",
                remedy="Let it stand for one: the documents of today are looked up there.",
            )
        ((concrete, state),) = found.items()
        return cls(index, concrete, compiled, state.get("mappings", {}), state.get("settings", {}))

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.concrete, self.mappings)

    @cached_property
    def _now(self) -> RememberedDocuments:
        return documents_in(self.index, self.compiled)

    @cached_property
    def known(self) -> RememberedDocuments | None:
        """The mapping that has made the documents, so far as it still fits the table's keys."""
        found = self._memory.documents(self.compiled.table)
        if found is None or not found.id:
            return None
        names = {*found.id, *filter(None, [found.routing])} - {TABLE}
        return found if names <= set(self.compiled.keys) else None

    @property
    def others(self) -> tuple[str, ...]:
        """Other tables that write to the index."""
        return tuple(name for name in self._memory.tables if name != self.compiled.table)

    @property
    def rules(self) -> tuple[RuleChange, ...]:
        """The differences of the mapping itself."""
        found = [] if self.known is None else differences(self.known, self._now)
        return tuple(RuleChange(one.text, one.leaves) for one in found)

    @cached_property
    def body_differs(self) -> bool:
        """Was it made with another body than the mapping's, or by somebody else?"""
        return self._memory.body != body_digest(self.compiled.bodies[self.index])

    def places(self, keys: RawItem) -> Sequence[tuple[str, str | None]]:
        """The ids and routings that an item's document may have in the index: that of the mapping which has made it
        first, then that of now, then earlier ones, whose documents were left behind."""
        made_by = self.known or self._now
        several = [(made_by.id, made_by.routing), (self._now.id, self._now.routing)]
        several += [(earlier, made_by.routing) for earlier in made_by.earlier]
        names = keys.keys() | {TABLE}
        return tuple(dict.fromkeys(self._place(keys, *one) for one in several if names >= set(one[0])))

    def _place(self, keys: RawItem, parts: Sequence[str], routing: str | None) -> tuple[str, str | None]:
        texts = [self.compiled.table if part == TABLE else key_text(keys[part]) for part in parts]
        return document_id(texts), None if routing is None else key_text(keys[routing])

    @cached_property
    def _rules_known(self) -> Sequence[Pattern]:
        """The conditions of those rules whose transform is still one of the mapping's."""
        if self.known is None:
            return ()
        transforms = {rule.transform for rule in self._now.rules}
        return [compile_pattern(rule.pattern) for rule in self.known.rules if rule.transform in transforms]

    def should_have(self, item: RawItem) -> bool:
        """Did the mapping that has made the documents surely make one of such an item?"""
        return any(pattern.matches(item) for pattern in self._rules_known)

    def types_changed(self, made: LiveIndex, counts: FieldCounts) -> Iterator[tuple[TypeChange, bool]]:
        """The fields of another type in a new index, and whether that is sure: a type that comes of the first value is
        sure if the sample has values of one kind only, and something has changed that could have changed it."""
        before, after = types_of(self.mappings), types_of(made.mappings)
        named = named_paths(self.compiled.bodies[self.index])
        other_rules = self.body_differs or self._of_the_whole() != made._of_the_whole()
        parts = {path for path in before if _field_of(path, after) not in (path, None)}
        for change in changed_types(before, after, after.keys() | parts):
            field = _field_of(change.path, after) or change.path
            kinds, kinds_then = counts.kinds(field)
            is_decided = len(kinds_then) <= 1 and (other_rules or kinds != kinds_then)
            yield change, field not in before or field in named or is_decided

    def settings_changed(self, made: LiveIndex) -> tuple[TypeChange, ...]:
        """The settings of another value in a new index."""
        ours, theirs = self._of_the_whole(), made._of_the_whole()
        whole = [
            TypeChange(f"mappings.{name}", _short(ours.get(name)), _short(theirs.get(name)))
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        return (*changed_settings(self.settings, made.settings), *whole)

    def _of_the_whole(self) -> Mapping[str, Any]:
        """The parts of the index mapping that are of no single field."""
        return {name: value for name, value in self.mappings.items() if name not in _OF_FIELDS}


def _field_of(path: str, types: Types) -> str | None:
    """The field that a path leads to: itself, or the one that it is a part of; None if there is none."""
    above = types.get(path.rpartition(".")[0])
    if above is not None and above["type"] != "object":
        return path.rpartition(".")[0]
    return path if path in types else None


def _short(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
