"""Identities: what makes two deliveries the same change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from cdc.records.attributes import canonical_number

__all__ = ["RecordIdentity", "images_digest", "keys_digest"]


@dataclass(frozen=True, slots=True, order=True)
class RecordIdentity:
    """Makes two deliveries the same change: origin, position in it, digest of the keys.

    DynamoDB Streams: stream label and sequence number. Kinesis, whose duplicates have sequence numbers of their own:
    table and microsecond of creation. `str()` gives the text by which readers drop copies.
    """

    origin: str
    position: str
    digest: str

    def __str__(self) -> str:
        return f"{self.origin}/{self.position}/{self.digest}"


def keys_digest(keys: Mapping[str, Any]) -> str:
    """32 hex digits that stand for an item's keys, given as DynamoDB JSON (or bytes for B, as boto3 has them)."""
    parts: list[tuple[str, str, str]] = []
    for name in sorted(keys):
        ((tag, value),) = keys[name].items()
        match value:
            case bytes():
                value = _base64(value)
            case str() if tag == "N":
                value = canonical_number(value)
        parts.append((name, tag, value))
    return sha256(orjson.dumps(parts)).hexdigest()[:32]


def images_digest(*images: Mapping[str, Any] | None) -> str:
    """8 hex digits that stand for a record's images, in the order that they were written in."""
    return sha256(orjson.dumps(images, default=_base64)).hexdigest()[:8]


def _base64(value: bytes) -> str:
    from base64 import b64encode

    return b64encode(value).decode()
