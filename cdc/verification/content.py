"""Contents of documents: compared by value, whatever the order of fields and the notation of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from cdc.errors import MalformedRecord
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD
from cdc.records.attributes import canonical_number

__all__ = ["DIGEST_BYTES", "content_digest", "has_set_aside", "is_older_shape", "read_document"]

DIGEST_BYTES = 8

Paths = Sequence[tuple[str, ...]]

_MOST_DIGITS = 1000


def _number(text: str) -> Any:
    """A number that is not written with digits only: an integer as such, else the one text that stands for it."""
    try:
        canonical = canonical_number(text)
        digits, _, exponent = canonical.partition("E")
        if "." in digits or int(exponent or 0) < 0 or int(exponent or 0) > _MOST_DIGITS:
            return msgspec.Raw(canonical.encode())
        return int(Decimal(canonical))
    except (MalformedRecord, ArithmeticError):
        return msgspec.Raw(text.encode())


_DECODER = msgspec.json.Decoder(float_hook=_number)
_ENCODER = msgspec.json.Encoder(order="deterministic")
_ASIDE = ASIDE_FIELD.encode()


def read_document(source: bytes) -> Any:
    """The document with its numbers exact, and with what was set aside back in its place.

    Raises:
        MsgspecError: it is no JSON.
    """
    document = _DECODER.decode(source)
    return _whole(document) if _ASIDE in source else document


def _whole(document: Any) -> Any:
    if not isinstance(document, dict) or not isinstance(document.get(ASIDE_FIELD), dict):
        return document
    kept = {name: value for name, value in document.items() if name not in (ASIDE_FIELD, ASIDE_NAMES_FIELD)}
    return {**kept, **document[ASIDE_FIELD]}


def has_set_aside(source: bytes) -> bool:
    """Was something of the document set aside?"""
    if _ASIDE not in source:
        return False
    try:
        document = _DECODER.decode(source)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    return isinstance(document, dict) and ASIDE_FIELD in document


def content_digest(source: bytes, ignored: Paths = ()) -> bytes:
    """Eight bytes that are equal for documents that say the same: the order of fields and the notation of numbers do
    not count, and neither do the fields at `ignored`. What is no JSON stands for itself."""
    try:
        document = read_document(source)
        if ignored:
            document = _without(document, ignored)
        canonical = _ENCODER.encode(document)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        canonical = source
    return blake2b(canonical, digest_size=DIGEST_BYTES).digest()


def _without(document: Any, paths: Paths) -> Any:
    for path in paths:
        document = _removed(document, path)
    return document


def _removed(value: Any, path: tuple[str, ...]) -> Any:
    name, *rest = path
    if not isinstance(value, dict) or name not in value:
        return value
    if not rest:
        return {other: inner for other, inner in value.items() if other != name}
    return {**value, name: _removed(value[name], tuple(rest))}


def is_older_shape(found: bytes, expected: bytes, item: bytes) -> bool:
    """Has the document right values only? Fields that both have are equal; what it has beside is a value of the item.

    Args:
        item: the document of all attributes of the item, as JSON.
    """
    try:
        document, wanted, whole = read_document(found), read_document(expected), read_document(item)
    except (msgspec.MsgspecError, UnicodeError):
        return False
    if not (isinstance(document, dict) and document and isinstance(wanted, dict)):
        return False
    return _fits(document, wanted, set(_texts(whole)) | set(_texts(wanted)))


def _fits(document: Mapping[str, Any], wanted: Mapping[str, Any], values: set[bytes]) -> bool:
    for name, value in document.items():
        if name not in wanted:
            if _ENCODER.encode(value) not in values and not (isinstance(value, dict) and _fits(value, {}, values)):
                return False
            continue
        other = wanted[name]
        if isinstance(value, dict) and isinstance(other, dict):
            if not _fits(value, other, values):
                return False
        elif _ENCODER.encode(value) != _ENCODER.encode(other):
            return False
    return True


def _texts(value: Any) -> list[bytes]:
    """The canonical texts of the value and of all values in it."""
    found = [_ENCODER.encode(value)]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        found += _texts(one)
    return found
