"""Slowest: how long calls of one kind take, so that none begins that a deadline would cut off."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.deadline import Deadline

__all__ = ["Slowest"]


_FORGETTING = 0.9


@dataclass(slots=True)
class Slowest:
    """How long calls of one kind take: none begins that the deadline would cut off if it took as long as the slowest.

    The first before a deadline always begins: a call that takes longer than there ever is must not be put off for ever.
    What was slow once is forgotten by and by.
    """

    seconds: float = 0.0
    _begun_for: float | None = None

    def allows(self, deadline: Deadline) -> bool:
        """May a call begin?"""
        if deadline.expired:
            return False
        is_first, self._begun_for = self._begun_for != deadline.at, deadline.at
        return is_first or deadline.remaining_seconds >= self.seconds

    def took(self, seconds: float) -> None:
        """A call came to its end."""
        self.seconds = max(seconds, _FORGETTING * self.seconds)
