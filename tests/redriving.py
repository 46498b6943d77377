"""Redriving in memory: a store of letters, a table, an index that shows what it was asked to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cdc import Applied, Change, Deadline, Outcome, Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import DeadLetter, letter_of
from cdc.dead_letters.redrive import Redriver, Result
from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.records.attributes import RawItem, encode_item
from cdc.records.identity import keys_digest
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.testing import ScriptedSink

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
KEY = {"pk": "a"}


class Letters:
    """A store in memory, whose keys are the letters' names."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def keep(self, letter: DeadLetter) -> None:
        self.kept[letter.name] = letter.to_json()

    def keys(self, table: str | None = None) -> Iterator[str]:
        return iter([key for key in self.kept if table is None or key.startswith(f"table={table}/")])

    def read(self, key: str) -> DeadLetter | None:
        return DeadLetter.from_json(self.kept[key]) if key in self.kept else None

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


class Items:
    """A table in memory. `then` happens after the first read."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.items: dict[str, RawItem] = {}
        self.down = False
        self.reads = 0
        self._then = then

    def put(self, key: dict[str, Any], **attributes: Any) -> None:
        self.items[keys_digest(encode_item(key))] = encode_item({**key, **attributes})

    def gone(self, key: dict[str, Any]) -> None:
        del self.items[keys_digest(encode_item(key))]

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        if self.down:
            raise SinkUnavailable("table", f"items of {table} can't be read: EndpointConnectionError")
        found = [self.items.get(keys_digest(key)) for key in keys]
        self.reads += 1
        if self.reads == 1:
            self._then()
        return found


class Writes:
    """An index that shows what it was asked to write, by the mapping it was given."""

    name = "opensearch"

    def __init__(self, answer: Callable[[Change], Outcome] = lambda _: Applied()) -> None:
        self.mapping_of: Callable[[str], CompiledMapping] | None = None
        self.written: list[Any] = []
        self.changes: list[Change] = []
        self._answer = answer

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        assert self.mapping_of is not None
        self.changes += changes
        self.written += [write for one in changes for write in self.mapping_of(one.table).writes(one)]
        return [self._answer(one) for one in changes]

    def flush(self, deadline: Deadline) -> None: ...

    def close(self) -> None: ...


MAPPING = "table: shop\ndocuments: [{index: orders}, {index: audit, on_remove: keep}]"


@dataclass
class Here:
    """Destinations of one table."""

    text: str = MAPPING
    sink: Writes = field(default_factory=Writes)
    functions: Sink | None = None
    archived: ScriptedSink | None = None

    def prepare(self, stream: Stream, keys: Sequence[str]) -> CompiledMapping:
        if stream.table != "shop":
            raise ConfigError(f"no mapping names the table {stream.table!r}")
        return compile_mapping(parse_mapping(self.text, source="shop.yml"), "shop", sorted(keys))

    def index(self, mapping_of: Callable[[str], CompiledMapping]) -> Sink | None:
        self.sink.mapping_of = mapping_of
        return self.sink

    def archive(self) -> Sink | None:
        return self.archived


def redriver(here: Here, items: Items, letters: Letters, **options: Any) -> Redriver:
    options = {"check": lambda _stream: None, "dead_letters": letters, **options}
    return Redriver(here, items, letters, sleep=lambda _: None, **options)


def kept(letters: Letters, one: Change, sink: str = "opensearch", document: str = "orders/a") -> str:
    letter = letter_of(one, Rejected(Cause("no"), "detail", document, "shop.yml"), sink, NOW)
    letters.keep(letter)
    return letter.name


def redriven(redriving: Redriver, *keys: str) -> list[Result]:
    return [result for _, result in redriving.redrive(keys, Deadline.after(60))]
