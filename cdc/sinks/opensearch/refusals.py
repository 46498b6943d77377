"""Refusals: which field OpenSearch refuses, and why, out of its error: nothing of the item's values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Refusal", "refusal_of"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The field that was refused, and the problem; both empty where the error does not name them."""

    field: str = ""
    problem: str = ""

    def __str__(self) -> str:
        return f"field {self.field}: {self.problem}" if self.field else self.problem


_Sentences = list[tuple[re.Pattern[str], Callable[[re.Match[str]], Refusal]]]

_SENTENCES: _Sentences = [
    (
        re.compile(r"object mapping for \[([^\]]+)\] tried to parse field \[[^\]]*\] as object, but found a concrete"),
        lambda found: Refusal(found[1], "an object in the index, a plain value in the item"),
    ),
    (
        re.compile(r"can't merge a non object mapping \[([^\]]+)\] with an object mapping"),
        lambda found: Refusal(found[1], "objects and plain values meet"),
    ),
    (
        re.compile(r"mapper \[([^\]]+)\] cannot be changed from type \[(\w+)\] to \[(\w+)\]"),
        lambda found: Refusal(found[1], f"{found[2]} in the index, {found[3]} in the item"),
    ),
    (
        re.compile(r"failed to parse field \[([^\]]+)\] of type \[(\w+)\]"),
        lambda found: Refusal(found[1], f"the item's value is no {found[2]}"),
    ),
    (
        re.compile(r"mapping set to strict, dynamic introduction of \[([^\]]+)\]"),
        lambda found: Refusal(found[1], "the index takes no field that its mapping does not name"),
    ),
    (
        re.compile(r"Field \[([^\]]+)\] is a metadata field"),
        lambda found: Refusal(found[1], "a name of OpenSearch's own"),
    ),
    (
        re.compile(r"Limit of total fields \[(\d+)\] has been exceeded"),
        lambda found: Refusal("", f"the index has its limit of {found[1]} fields"),
    ),
]
"""How OpenSearch's errors begin. What comes behind these beginnings may quote the item, and is never looked at."""


def refusal_of(detail: str) -> Refusal:
    """Find the field and the problem in the detail of a rejection: OpenSearch's error as JSON, in the first line."""
    try:
        error = json.loads(detail.partition("\n")[0])
    except ValueError:
        return Refusal()
    while isinstance(error, dict):
        if (found := _told(error.get("reason"))) is not None:
            return found
        error = error.get("caused_by")
    return Refusal()


def _told(reason: Any) -> Refusal | None:
    for sentence, refusal in _SENTENCES if isinstance(reason, str) else ():
        if (found := sentence.match(reason)) is not None:
            return refusal(found)
    return None
