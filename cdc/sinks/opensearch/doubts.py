"""Doubts: writes whose refusal nobody can explain. They wait once, and are rejected if they fail again alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from cdc.mappings.writes import Write
from cdc.outcome import Deferred, Outcome
from cdc.sinks.opensearch.answers import Doubtful

__all__ = ["Doubts"]

_MOST = 1000

_Key = tuple[str, str, int]


@dataclass
class Doubts:
    """The writes in doubt, as long as this process remembers them."""

    _seen: dict[_Key, None] = field(default_factory=dict)

    def alone(self, parts: Iterable[slice], writes: Sequence[Write]) -> Iterator[slice]:
        """`parts`, cut so that each write in doubt has a request of its own."""
        if not self._seen:
            yield from parts
            return
        for part in parts:
            start = part.start
            for position in range(part.start, part.stop):
                if _key(writes[position]) in self._seen:
                    if position > start:
                        yield slice(start, position)
                    yield slice(position, position + 1)
                    start = position + 1
            if part.stop > start:
                yield slice(start, part.stop)

    def judged(self, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes of one request: what fails again alone is rejected, other doubts wait."""
        judged: list[Outcome] = []
        for write, outcome in zip(writes, outcomes, strict=True):
            if not isinstance(outcome, Doubtful):
                judged.append(outcome)
            elif len(writes) == 1 and _key(write) in self._seen:
                self._seen.pop(_key(write), None)
                judged.append(replace(outcome.rejected(), document=f"{write.index}/{write.id}"))
            else:
                if len(self._seen) < _MOST:
                    self._seen[_key(write)] = None
                judged.append(Deferred(outcome.cause, outcome.wait_seconds))
        return judged


def _key(write: Write) -> _Key:
    return write.index, write.id, write.version
