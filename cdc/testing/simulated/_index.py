"""An index of the simulated OpenSearch: its documents, what it remembers of deleted ones, and its settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

from cdc.duration import parse_seconds

__all__ = ["Held", "SimulatedIndex", "Written", "exact", "flat_settings"]

Written = Callable[[str, str, "tuple[int, dict[str, Any] | None] | None", "tuple[int, dict[str, Any] | None]"], None]
"""Told of each write: index, id, the (version, source) before it, and after it; a deleted document's source is None."""

_BLOCKS = {
    "index.blocks.write": (403, "FORBIDDEN/8/index write (api)"),
    "index.blocks.read_only": (403, "FORBIDDEN/5/index read-only (api)"),
    "index.blocks.read_only_allow_delete": (
        429,
        "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block",
    ),
}

_exact = json.JSONDecoder(parse_float=Decimal).decode


def exact(text: bytes) -> Any:
    """Parse JSON with every digit kept: int, and Decimal where there is a point or an exponent."""
    return _exact(text.decode())


@dataclass(frozen=True, slots=True)
class Held:
    """A document. `source` is parsed exactly; `text` is what was sent."""

    version: int
    source: dict[str, Any]
    text: bytes
    routing: str | None = None


@dataclass
class SimulatedIndex:
    """An index. `deleted` holds the version and the time of each delete that is still remembered."""

    name: str
    aliases: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    mappings: dict[str, Any] = field(default_factory=dict)
    closed: bool = False
    documents: dict[str, Held] = field(default_factory=dict)
    deleted: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def blocked(self) -> tuple[int, str] | None:
        """The status and the reason with which writes are refused, if they are."""
        return self._blocked_by(*_BLOCKS)

    def metadata_blocked(self, *, delete: bool = False) -> tuple[int, str] | None:
        """The same for changes of the index itself, which a block of writes alone lets through; for its deletion."""
        return self._blocked_by("index.blocks.read_only", *(() if delete else ("index.blocks.read_only_allow_delete",)))

    def _blocked_by(self, *settings: str) -> tuple[int, str] | None:
        for setting in settings:
            if self.settings.get(setting) == "true":
                status, block = _BLOCKS[setting]
                return status, f"index [{self.name}] blocked by: [{block}];"
        return None

    def held(self, identifier: str, now: float) -> tuple[int, dict[str, Any] | None] | None:
        """The version and source of a document, or of its delete while that is remembered (`index.gc_deletes`)."""
        document = self.documents.get(identifier)
        if document is not None:
            return document.version, document.source
        remembered = self.deleted.get(identifier)
        if remembered is None:
            return None
        if now - remembered[1] > _gc_seconds(str(self.settings.get("index.gc_deletes", "60s"))):
            del self.deleted[identifier]
            return None
        return remembered[0], None

    def put(self, identifier: str, document: Held) -> None:
        """Hold a document."""
        self.documents[identifier] = document
        self.deleted.pop(identifier, None)

    def remove(self, identifier: str, version: int, now: float) -> bool:
        """Remember a delete; was there a document?"""
        self.deleted[identifier] = version, now
        return self.documents.pop(identifier, None) is not None

    def forget_deletes(self) -> None:
        """Forget deletes, as a restart, or a close and an open, of the index does, whatever `index.gc_deletes` says."""
        self.deleted.clear()


@lru_cache(maxsize=64)
def _gc_seconds(duration: str) -> float:
    return parse_seconds(duration)


def flat_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as OpenSearch keeps them: dotted names under `index.`."""
    flat: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else name, inner)
        else:
            name = prefix if prefix.startswith("index.") else f"index.{prefix}"
            flat[name] = value if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    walk("", settings)
    return flat
