"""Fields: from the evidence of a path to the field type that takes all of it, and the reason in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdc.inference.evidence import Evidence, Path, is_keyed_by_ids
from cdc.mappings.fields import METADATA_FIELDS
from cdc.mappings.model import RESERVED_FIELDS

__all__ = ["Choice", "choice_of", "has_home"]

_KEYWORD_BYTES = 8191
_KEYWORD: Mapping[str, Any] = {"type": "keyword", "ignore_above": _KEYWORD_BYTES}
_BOTH: Mapping[str, Any] = {"type": "text", "fields": {"keyword": _KEYWORD}}
_SHORT_BYTES = 256
_WORDS = 0.1
"""The share of texts with spaces from which on people look for words in them."""
_DOUBLE_DIGITS = 15
_DOUBLE_WHOLE, _LONG = 2**53, 2**63
_TERM_BYTES = 32_766
_TIME = re.compile(r"(^|_|-|[a-z])(at|on|time|date|ts|ttl|timestamp|expires?|expiry|until|since|epoch)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """A field type, and why; without a type the index's defaults do."""

    field: Mapping[str, Any] | None
    reason: str


def has_home(path: Path) -> bool:
    """Can `body` name a field of this path? Names with dots, and OpenSearch's own, it can't."""
    return all(name and "." not in name for name in path) and path[0] not in METADATA_FIELDS | RESERVED_FIELDS


def choice_of(path: Path, evidence: Evidence) -> Choice:
    """The field for a path's values. Whatever comes later and does not fit it is set aside, or not searched; it is in
    the document all the same."""
    types = evidence.types.keys() - {"NULL", "L"}
    if "M" in types:
        return _of_maps(evidence, mixed=len(types) > 1)
    if not types:
        return Choice(None, "no values")
    if types == {"S"}:
        return _of_texts(evidence)
    if types == {"N"}:
        return _of_numbers(path, evidence)
    if types == {"BOOL"}:
        return Choice(None, "true and false: a keyword, as by default")
    if types == {"B"}:
        return Choice({**_KEYWORD}, "binary: its base64 form, as a whole")
    return Choice({**_BOTH}, "several types: words, and the whole in .keyword")


def _of_maps(evidence: Evidence, *, mixed: bool) -> Choice:
    if mixed:
        return Choice({"type": "object", "enabled": False}, "a map here and a value there: kept, not searched")
    if is_keyed_by_ids(evidence):
        return Choice({"type": "flat_object"}, "a map that is keyed by ids: one field, whatever the names")
    return Choice(None, "a map")


def _of_texts(evidence: Evidence) -> Choice:
    texts = evidence.types["S"]
    if evidence.dates == texts:
        return Choice({"type": "date", "ignore_malformed": True}, "times of ISO 8601")
    if evidence.longest > _SHORT_BYTES or evidence.spaces > _WORDS * texts:
        return Choice(None, "texts: words, and the whole in .keyword, as by default")
    return Choice({**_KEYWORD}, "short texts without spaces: as a whole")


def _of_numbers(path: Path, evidence: Evidence) -> Choice:
    numbers = evidence.types["N"]
    if path and _TIME.search(path[-1]) and numbers in (evidence.seconds, evidence.milliseconds):
        unit = "second" if evidence.seconds == numbers else "millis"
        named = "seconds" if unit == "second" else "milliseconds"
        return Choice(
            {"type": "date", "format": f"epoch_{unit}", "ignore_malformed": True}, f"{named} since 1970, by its name"
        )
    exact = {"exact": {**_KEYWORD}}
    if evidence.whole == numbers and _DOUBLE_WHOLE < evidence.greatest < _LONG:
        return Choice(
            {"type": "long", "coerce": False, "ignore_malformed": True, "fields": exact},
            "whole numbers beyond a double's 53 bits",
        )
    if evidence.digits > _DOUBLE_DIGITS:
        return Choice(
            None, f"{evidence.digits} digits, a double has {_DOUBLE_DIGITS}: equality by .exact, ranges by the double"
        )
    return Choice(None, "numbers: a double, and .exact, as by default")
