"""Truth: what an item's document should be, and what an object of the archive holds, by a few plain lines of their own.

The mapping file that an index is rebuilt by calls an attribute otherwise: see RENAMED.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD, RESERVED_FIELDS
from cdc.testing.simulated.s3 import StoredObject

__all__ = [
    "ARCHIVE",
    "INDICES",
    "LETTERS",
    "POISON",
    "RENAMED",
    "document_of",
    "identifier_of",
    "is_archived",
    "lines_of",
    "owner_of",
    "record_of",
    "whole",
]

ARCHIVE, LETTERS = "archive", "letters"
INDICES = ("orders", "drafts")
POISON = "poison"
"""The attribute of documents that the index refuses."""
RENAMED = ("status", "state")
"""The attribute that the changed mapping file renames, and its new name."""


def identifier_of(keys: Mapping[str, Any]) -> str:
    """The id of the document of these keys."""
    return "|".join(keys[name]["S"] for name in sorted(keys))


def owner_of(image: Mapping[str, Any]) -> str:
    """The index that an item belongs to."""
    return "drafts" if image.get("status") == {"S": "draft"} else "orders"


def document_of(image: Mapping[str, Any]) -> dict[str, Any]:
    """An item's document."""
    return {name: _plain(value) for name, value in image.items()}


def _plain(value: Mapping[str, Any]) -> Any:
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return int(content) if content.lstrip("-").isdigit() else Decimal(content)
        case "SS":
            return sorted(content)
        case "M":
            return document_of(content)
        case "L":
            return [_plain(value) for value in content]
        case "NULL":
            return None
    return content


def record_of(line: Any) -> str:
    """A delivery, of which Kinesis may make several of one change."""
    return f"{line['Metadata']['Identity']['S']} at {line['Metadata']['SequenceNumber']['S']}"


def is_archived(stored: StoredObject) -> bool:
    """Is it an object of the archive?"""
    return stored.bucket == ARCHIVE and stored.key.endswith(".ndjson.gz")


def lines_of(body: bytes) -> list[Any]:
    """The lines of an object of the archive."""
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def whole(source: Mapping[str, Any], *, changed: bool) -> dict[str, Any]:
    """A document as the first mapping file makes it, with what was set aside back in its place.

    Args:
        changed: the changed file has made it.
    """
    aside = source.get(ASIDE_FIELD, {})
    if list(aside) != source.get(ASIDE_NAMES_FIELD, []):
        raise AssertionError(f"the names of what is set aside are others: {source}")
    found = {**{name: value for name, value in source.items() if name not in RESERVED_FIELDS}, **aside}
    before, after = RENAMED
    if changed and after in found:
        found[before] = found.pop(after)
    return found
