"""Stores of dead letters: what they promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from cdc.dead_letters.letter import DeadLetter

__all__ = ["DeadLetterStore", "LetterStore"]


class DeadLetterStore(Protocol):
    """A place where dead letters are kept."""

    def keep(self, letter: DeadLetter) -> None:
        """Return when the letter is durable. Several threads call it at once.

        Raises:
            SinkUnavailable: it could not be stored.
        """
        ...


class LetterStore(DeadLetterStore, Protocol):
    """A store whose letters can be found again."""

    def keys(self, table: str | None = None) -> Iterator[str]:
        """The keys of all letters, or of a table's.

        Raises:
            SinkUnavailable: the store does not answer.
        """
        ...

    def read(self, key: str) -> DeadLetter | None:
        """The letter of a key; None if there is none (any more).

        Raises:
            SinkUnavailable: the store does not answer.
            MalformedRecord: what is there is no letter.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a letter; one that is gone already is no error.

        Raises:
            SinkUnavailable: the store does not answer.
        """
        ...
