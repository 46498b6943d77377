"""Document ids: one for each item, made of its key attributes."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256

from cdc.errors import MalformedRecord
from cdc.records.attributes import canonical_number, split

__all__ = ["MAX_ID_BYTES", "document_id", "id_parts", "is_digest", "key_of_text", "key_text"]


MAX_ID_BYTES = 512
"""OpenSearch's limit for `_id` (OpenSearch documentation, "Index document")."""


def document_id(parts: Sequence[str]) -> str:
    """One id for each list of parts of one length, and another for every other list.

    One part: its text. More: joined by `|`, with `%` and `|` percent-encoded inside a part. What is longer than
    512 bytes of UTF-8, empty, or looks like such a digest: `sha256:` and the hex digest of that text.
    """
    text = parts[0] if len(parts) == 1 else "|".join([part.replace("%", "%25").replace("|", "%7C") for part in parts])
    if 0 < len(text) <= MAX_ID_BYTES // 4 and not text.startswith("sha256:"):
        return text  # no character has more than four bytes
    if not text or len(text.encode()) > MAX_ID_BYTES or _DIGEST.fullmatch(text):
        return "sha256:" + sha256(text.encode()).hexdigest()
    return text


def is_digest(identifier: str) -> bool:
    """Does the id look like the digest that stands for a long one, whose parts nobody can tell?"""
    return _DIGEST.fullmatch(identifier) is not None


def id_parts(identifier: str, count: int) -> tuple[str, ...] | None:
    """The `count` parts that `document_id` makes this id of; None if there are none, or if it is a digest."""
    parts = [identifier]
    if count != 1:
        parts = [part.replace("%7C", "|").replace("%25", "%") for part in identifier.split("|")]
    return tuple(parts) if len(parts) == count and document_id(parts) == identifier else None


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def key_text(value: object) -> str:
    """The text of a key attribute: S as is, N as canonical digits, B as base64url.

    Raises:
        MalformedRecord: it is no key attribute's value.
    """
    tag, content = split(value)
    if tag == "S" and isinstance(content, str):
        return content
    if tag == "N" and isinstance(content, str):
        return canonical_number(content)
    if tag == "B" and isinstance(content, str):
        return content.translate(_TO_BASE64URL)
    if tag == "B" and isinstance(content, bytes):
        return urlsafe_b64encode(content).decode()
    raise MalformedRecord("a key attribute is S, N or B")


def key_of_text(text: str, tag: str) -> dict[str, str] | None:
    """The key attribute of this tag (S, N or B) that `key_text` makes the text of; None if there is none."""
    value = {tag: text.translate(_FROM_BASE64URL) if tag == "B" else text}
    try:
        if tag == "B":
            b64decode(value[tag], validate=True)
        return value if key_text(value) == text else None
    except (MalformedRecord, ValueError):
        return None


_TO_BASE64URL = str.maketrans("+/", "-_")


_FROM_BASE64URL = str.maketrans("-_", "+/")
