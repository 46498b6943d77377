"""Sequence numbers: parsed, and compared as the integers they are.

A sequence number is unique within a shard only, and the counter it begins with starts at 1 with every new stream of a
table (seen on real streams; AWS's "DynamoDB Streams API Reference" promises a string of 21 to 40 characters).
`cdc.records.versions` makes the versions of documents of it.
"""

from __future__ import annotations

import msgspec

from cdc.errors import MalformedRecord

__all__ = [
    "DYNAMODB_DIGITS",
    "KINESIS_DIGITS",
    "SequenceNumber",
]

DYNAMODB_DIGITS = 40
KINESIS_DIGITS = 56


class SequenceNumber(msgspec.Struct, frozen=True, eq=False):
    """A sequence number: text as AWS gave it, compared as the integer it is."""

    text: str
    value: int

    @classmethod
    def parse(cls, text: object, max_digits: int = DYNAMODB_DIGITS) -> SequenceNumber:
        """Read a string of 1 to `max_digits` digits.

        Raises:
            MalformedRecord: it is anything else.
        """
        if isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) <= max_digits:
            return cls(text, int(text))
        raise MalformedRecord(f"a sequence number has 1 to {max_digits} digits; this is {text!r:.80}")

    def __lt__(self, other: SequenceNumber) -> bool:
        return self.value < other.value

    def __le__(self, other: SequenceNumber) -> bool:
        return self.value <= other.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceNumber) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.text
