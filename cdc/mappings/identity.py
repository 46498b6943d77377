"""Identity: what makes a document one. An index remembers it for each table, so that the next mapping is held to it.

Two tables in one index must never make one id. A mapping that changes must not leave documents behind that nobody
deletes any more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import TABLE, joined_path
from cdc.mappings.pattern import compile_pattern
from cdc.mappings.wider import is_within
from cdc.records.attributes import canonical_number

__all__ = [
    "Difference",
    "RememberedDocuments",
    "RememberedRule",
    "differences",
    "documents_in",
    "may_share",
    "pattern_of_text",
    "shared_documents",
    "text_of_pattern",
]

_Parts = Sequence[str | None]


class RememberedRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document of a mapping: which items, and what of them."""

    where: str = "{}"
    """The pattern as JSON text, in which numbers keep their digits."""
    transform: str = ""
    """A digest of its source."""
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    rename: dict[str, str] = {}

    @property
    def pattern(self) -> dict[str, Any]:
        """The pattern itself."""
        return pattern_of_text(self.where)


class RememberedDocuments(msgspec.Struct, frozen=True, omit_defaults=True):
    """The documents of one table in one index."""

    id: tuple[str, ...]
    """The parts of the id, the table's keys where the mapping names none. Empty: unknown."""
    rules: tuple[RememberedRule, ...]
    index: str
    """The name in the mapping that came first, in small letters."""
    indices: tuple[str, ...]
    """All indices of the table's mappings so far."""
    keys: tuple[str, ...] = ()
    routing: str | None = None
    on_remove: str = "delete"
    on_expiry: str | None = None
    earlier: tuple[tuple[str, ...], ...] = ()
    """Ids of documents that were left behind."""

    def after(self, known: RememberedDocuments) -> RememberedDocuments:
        """These documents, where those of `known` are there already."""
        left = (known.id,) if any(one.refused for one in differences(known, self)) else ()
        return msgspec.structs.replace(
            self,
            index=known.index,
            indices=tuple(sorted({*known.indices, *self.indices})),
            earlier=tuple(dict.fromkeys((*known.earlier, *left))),
        )


def documents_in(index: str, compiled: CompiledMapping) -> RememberedDocuments:
    """The table's documents in `index`, to be remembered by it."""
    owners = [owner for owner in compiled.owners if owner.index == index]
    first = owners[0].document
    return RememberedDocuments(
        id=first.id or compiled.keys,
        rules=tuple(
            RememberedRule(
                where=text_of_pattern(owner.document.where),
                transform=owner.transform_digest,
                include=owner.document.fields.include,
                exclude=owner.document.fields.exclude,
                rename=owner.document.fields.rename,
            )
            for owner in owners
        ),
        index=index,
        indices=tuple(sorted(compiled.bodies)),
        keys=compiled.keys,
        routing=first.routing,
        on_remove=first.on_remove,
        on_expiry=first.on_expiry,
    )


def text_of_pattern(where: Mapping[str, Any]) -> str:
    """A pattern as JSON text, in which numbers keep their digits; equal for equal patterns."""
    return orjson.dumps(_exact(where), option=orjson.OPT_SORT_KEYS).decode()


def pattern_of_text(text: str) -> dict[str, Any]:
    """The pattern of a text of `text_of_pattern`."""
    pattern: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return pattern


def _exact(value: Any) -> Any:
    """The value with its numbers as they are written in JSON, whatever a float or 64 bits can hold."""
    match value:
        case bool():
            return value
        case int() | float() | Decimal():
            return orjson.Fragment(str(value))
        case Mapping():
            return {name: _exact(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_exact(inner) for inner in value]
    return value


def may_share(table: str, one: RememberedDocuments, other_table: str, other: RememberedDocuments) -> bool:
    """Could an item of the one table and an item of the other have one id?

    Ids of several parts are equal only if each part is; an id of one part may be any text. So two tables are kept
    apart by a place that holds another constant in each: the table's name, or a key that `where` pins to one value.
    """
    return any(
        _may_be_one(parts, others) for parts in _constants(table, one) for others in _constants(other_table, other)
    )


def _may_be_one(parts: _Parts, others: _Parts) -> bool:
    if not parts or not others:
        return True
    if len(parts) != len(others):
        return 1 in (len(parts), len(others))
    return all(part is None or other is None or part == other for part, other in zip(parts, others, strict=True))


def _constants(table: str, documents: RememberedDocuments) -> Iterator[_Parts]:
    """The parts of each id that the table's documents have or had: the text of one that is always the same, else
    None."""
    patterns = [rule.pattern for rule in documents.rules]
    yield [table if part == TABLE else _pinned(part, patterns) for part in documents.id]
    for earlier in documents.earlier:
        yield [table if part == TABLE else None for part in earlier]


def _pinned(key: str, patterns: Iterable[Mapping[str, Any]]) -> str | None:
    texts = set()
    for pattern in patterns:
        allowed = pattern.get(joined_path((key,)))
        if key not in compile_pattern(pattern).pinned or not allowed:
            return None
        match allowed[0]:
            case bool():
                return None
            case str() as text:
                texts.add(text)
            case int() | float() | Decimal() as number:
                try:
                    texts.add(canonical_number(str(number)))
                except MalformedRecord:
                    return None  # DynamoDB has no such number
            case _:
                return None
    return texts.pop() if len(texts) == 1 else None


def shared_documents(source: str, index: str, table: str, other: str, more: str = "") -> ConfigError:
    """The error that says that items of two tables could be one document. `more` may name {other}."""
    remedy = f'Give each an index of its own (index: "{TABLE}-…"), or begin the id of both by the table in a new index '
    remedy += f'(id: ["{TABLE}", …]). {more.format(other=other)}'
    return ConfigError(
        f"{source}: the tables {other!r} and {table!r} both write to {index!r}: items of the two could be one document",
        remedy=remedy.rstrip(),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is different in a mapping, and what that leaves behind in the index."""

    text: str
    leaves: str
    refused: bool = False
    """Documents would stay as they are for ever, or until their items change."""
    harmless: bool = False
    """Nothing stays that should not."""


def differences(known: RememberedDocuments, now: RememberedDocuments) -> list[Difference]:
    """The changes from the mapping that an index remembers to the one that is to write to it now."""
    found: list[Difference] = []
    if known.id and now.id and known.id != now.id:
        found.append(
            Difference(
                f"id was [{', '.join(known.id)}] and is [{', '.join(now.id)}]",
                "the documents that are there keep their old ids, also when their items are changed or removed",
                refused=True,
            )
        )
    elif known.keys and now.keys and known.keys != now.keys:
        found.append(
            Difference(
                f"the table's keys were {', '.join(known.keys)} and are {', '.join(now.keys)}",
                "documents of the earlier keys stay, and an item of now may share one's id",
                refused=True,
            )
        )
    if known.routing != now.routing:
        found.append(
            Difference(
                f"routing was {known.routing or 'none'} and is {now.routing or 'none'}",
                "the documents that are there stay where the old routing has put them, beside the new ones",
                refused=True,
            )
        )
    return [*found, *_of_rules(known.rules, now.rules), *_of_policies(known, now)]


def _of_rules(known: Sequence[RememberedRule], now: Sequence[RememberedRule]) -> list[Difference]:
    wheres = [(rule, rule.pattern) for rule in now]
    successors = [(rule, [new for new, pattern in wheres if is_within(rule.pattern, pattern)]) for rule in known]
    found: list[Difference] = []
    gone = next((rule for rule, new in successors if not new), None)
    if gone is not None:
        found.append(
            Difference(
                f"where was {gone.where}, and not all of that is surely taken by "
                + " or ".join(rule.where for rule in now),
                "the documents of items that it takes no more stay, also when their items are removed",
                refused=True,
            )
        )
    elif {rule.where for rule in known} != {rule.where for rule in now}:
        found.append(Difference("where is wider", "items that it takes now come in when they change", harmless=True))
    if any(new and rule.transform not in {one.transform for one in new} for rule, new in successors):
        found.append(
            Difference(
                "the source of transform has changed",
                "the documents that the earlier one made stay as they are until their items change",
                refused=True,
            )
        )
    if any(new and not any(_fields(rule) == _fields(one) for one in new) for rule, new in successors):
        added = all(not new or any(_only_adds(rule, one) for one in new) for rule, new in successors)
        found.append(
            Difference(
                "fields has more" if added else "fields has changed",
                "the documents that are there "
                + ("lack them" if added else "keep the earlier ones")
                + " until their items change",
                harmless=added,
            )
        )
    return found


def _fields(rule: RememberedRule) -> tuple[object, ...]:
    include = None if rule.include is None else frozenset(rule.include)
    return include, frozenset(rule.exclude), rule.rename


def _only_adds(known: RememberedRule, now: RememberedRule) -> bool:
    included = now.include is None or (known.include is not None and set(known.include) <= set(now.include))
    return included and set(now.exclude) <= set(known.exclude) and known.rename == now.rename


def _of_policies(known: RememberedDocuments, now: RememberedDocuments) -> list[Difference]:
    earlier = {known.on_remove, known.on_expiry or known.on_remove}
    policies = {now.on_remove, now.on_expiry or now.on_remove}
    left = sorted(earlier - policies - {"delete"})
    if left:
        kept = {"keep": "the documents of removed items stay", "tombstone": "tombstones stay until they are purged"}
        return [Difference(f"on_remove or on_expiry was {' and '.join(left)}", "; ".join(kept[one] for one in left))]
    return []
