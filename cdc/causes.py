"""Causes: why a change is deferred or rejected, as a value; `KINDS` says what follows from each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["KINDS", "Cause", "CauseKind", "KindRule", "Next"]


class Next(StrEnum):
    """The step that follows a failure."""

    RETRY = "retry"
    """The same change is tried again, with growing waits."""
    DEAD_LETTER = "dead letter"
    """The change is kept as a dead letter, and those behind it go on."""


class CauseKind(StrEnum):
    """The kinds of causes. The value is the label of metrics, unless the cause has a code of its own."""

    NOT_TRIED = "not_tried"
    OUT_OF_REACH = "out_of_reach"
    OVERLOADED = "overloaded"
    INDEX_UNAVAILABLE = "index_unavailable"
    INDEX_VANISHED = "index_vanished"
    STRANGE_ANSWER = "strange_answer"
    LOST_RACE = "lost_race"
    AWS_REFUSED = "aws_refused"
    RESTLESS_ITEM = "restless_item"
    DEADLINE = "deadline"
    FUNCTION_DEFERRED = "function_deferred"
    FUNCTION_FAILED = "function_raised"
    REJECTED_IN_MASSES = "rejected_in_masses"
    NO_DEAD_LETTER_STORE = "no_dead_letter_store"
    DEAD_LETTER_NOT_STORED = "dead_letter_not_stored"
    DOCUMENT_REFUSED = "document_refused"
    UNREADABLE_RECORD = "unreadable_record"
    UNREADABLE_ITEM = "unreadable_item"
    UNWRITABLE_DOCUMENT = "unwritable_document"
    UNWRITABLE_LINE = "unwritable_line"
    FUNCTION_REJECTED = "function_rejected"
    DEFERRED_TOO_LONG = "deferred_too_long"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class KindRule:
    """The step that follows from a kind of cause, and what a person can do."""

    next: Next
    remedy: str = ""


_RETRY, _DEAD_LETTER = Next.RETRY, Next.DEAD_LETTER

KINDS: Mapping[CauseKind, KindRule] = {
    CauseKind.NOT_TRIED: KindRule(_RETRY),
    CauseKind.OUT_OF_REACH: KindRule(_RETRY, "Check that the server is up and that this process can reach it."),
    CauseKind.OVERLOADED: KindRule(_RETRY, "Give the server more capacity, or send less at once."),
    CauseKind.INDEX_UNAVAILABLE: KindRule(_RETRY, "Open the index, lift its block, or allow this user to write to it."),
    CauseKind.INDEX_VANISHED: KindRule(_RETRY, "Restore the index or its alias, then restart the consumer."),
    CauseKind.STRANGE_ANSWER: KindRule(_RETRY, "Check what answers at the endpoint: a proxy may answer in its place."),
    CauseKind.LOST_RACE: KindRule(_RETRY),
    CauseKind.AWS_REFUSED: KindRule(_RETRY, "Check the permissions of this role, and the name of the resource."),
    CauseKind.RESTLESS_ITEM: KindRule(_RETRY),
    CauseKind.DEADLINE: KindRule(_RETRY, "Give the function more time, or smaller batches."),
    CauseKind.FUNCTION_DEFERRED: KindRule(_RETRY),
    CauseKind.FUNCTION_FAILED: KindRule(_RETRY, "Mend the function: the dead letter has its traceback."),
    CauseKind.REJECTED_IN_MASSES: KindRule(_RETRY, "Mend the index or the mapping: the records are good."),
    CauseKind.NO_DEAD_LETTER_STORE: KindRule(_RETRY, "Configure a bucket for dead letters."),
    CauseKind.DEAD_LETTER_NOT_STORED: KindRule(_RETRY, "Check the bucket of dead letters, and the permissions on it."),
    CauseKind.DOCUMENT_REFUSED: KindRule(_DEAD_LETTER, "Mend the mapping or the item, then redrive the letter."),
    CauseKind.UNREADABLE_RECORD: KindRule(_DEAD_LETTER),
    CauseKind.UNREADABLE_ITEM: KindRule(_DEAD_LETTER),
    CauseKind.UNWRITABLE_DOCUMENT: KindRule(
        _DEAD_LETTER, "Mend the mapping or its transform, then redrive the letter."
    ),
    CauseKind.UNWRITABLE_LINE: KindRule(_DEAD_LETTER),
    CauseKind.FUNCTION_REJECTED: KindRule(_DEAD_LETTER),
    CauseKind.DEFERRED_TOO_LONG: KindRule(_DEAD_LETTER, "Mend what the change waited for, then redrive the letter."),
    CauseKind.OTHER: KindRule(_RETRY),
}
"""One row a kind: the only place that knows what a kind means."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed. `text` is safe to log: it never quotes an item.

    `code` is the other side's own word for it, such as an error type of OpenSearch or an error code of AWS.
    """

    text: str
    kind: CauseKind = CauseKind.OTHER
    code: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def label(self) -> str:
        """The word that metrics count by: the code, or else the kind's value."""
        return self.code or self.kind.value

    @property
    def key(self) -> tuple[CauseKind, str]:
        """The key by which two causes are the same, however their texts differ."""
        return self.kind, self.code

    @property
    def remedy(self) -> str:
        """The remedy: what a person can do about it, or empty."""
        return KINDS[self.kind].remedy

    @property
    def may_pass(self) -> bool:
        """Is it worth another attempt?"""
        return KINDS[self.kind].next is Next.RETRY

    def under(self, kind: CauseKind, text: str) -> Cause:
        """A cause of another kind that came of this one: `text`, then this one's."""
        return Cause(f"{text}: {self.text}", kind)
