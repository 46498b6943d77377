"""The contract that is shipped can fail: each claim finds a sink that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import pytest

from cdc import Applied, Cause, Change, Deadline, Deferred, Operation, Outcome, SinkUnavailable, Superseded
from cdc.testing import sink_contract

Held = dict[str, tuple[int, Any]]
CLAIMS = {str(claim): claim for claim in sink_contract}


class Sound:
    """A sink that keeps every claim: each item's newest state, written at the flush."""

    name = "sound"

    def __init__(self, held: Held) -> None:
        self.held = held
        self.open: Held = {}

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return [self.take(change) for change in changes]

    def take(self, change: Change) -> Outcome:
        key = change.identity.digest
        known = max((place.get(key, (-1, None)) for place in (self.held, self.open)), key=lambda state: state[0])
        if known[0] > change.version:
            return Superseded()
        self.open[key] = (change.version, change.after)
        return Applied()

    def flush(self, deadline: Deadline) -> None:
        for key, state in self.open.items():
            if state[0] >= self.held.get(key, (-1, None))[0]:
                self.held[key] = state
        self.open.clear()

    def close(self) -> None:
        self.open.clear()


def test_a_sound_sink_keeps_every_claim() -> None:
    for claim in sink_contract:
        held: Held = {}
        claim(lambda held=held: Sound(held), lambda held=held: _shown(held))  # type: ignore[misc]


def _shown(held: Held) -> Any:
    return {key: state for key, (_, state) in held.items() if state is not None}


class AnswersOnce(Sound):
    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return super().write(changes, deadline)[:1]


class AnswersNothing(Sound):
    def write(self, changes: Sequence[Change], deadline: Deadline) -> Any:
        return [None for _ in super().write(changes, deadline)]


class AnswersTheEmptyBatch(Sound):
    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return super().write(changes, deadline) or [Applied()]


class Counts(Sound):
    def take(self, change: Change) -> Outcome:
        self.held[str(len(self.held))] = (change.version, change.after or {})
        return Applied()


class NamesByTheBatch(Sound):
    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        for change in changes:
            self.held[f"{change.identity} of {len(changes)}"] = (change.version, change.keys)
        return [Applied() for _ in changes]


class TheLastWins(Sound):
    def take(self, change: Change) -> Outcome:
        self.open[change.identity.digest] = (change.version, change.after)
        return Applied()

    def flush(self, deadline: Deadline) -> None:
        self.held |= self.open
        self.open.clear()


class OwnVersionsOnly(Sound):
    """Looks at what it has written itself, and not at what is held."""

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        self.seen: dict[str, int] = {}

    def take(self, change: Change) -> Outcome:
        key = change.identity.digest
        if self.seen.get(key, -1) > change.version:
            return Superseded()
        self.seen[key] = change.version
        self.held[key] = (change.version, change.after)
        return Applied()


class KeepsRemovedItems(Sound):
    def take(self, change: Change) -> Outcome:
        return Applied() if change.operation is Operation.REMOVE else super().take(change)


class WritesAtTheClose(Sound):
    def flush(self, deadline: Deadline) -> None: ...

    def close(self) -> None:
        super().flush(Deadline.after(1))


class FlushesOnce(Sound):
    flushed = False

    def flush(self, deadline: Deadline) -> None:
        if not self.flushed:
            super().flush(deadline)
        self.flushed = True


class ForgetsWithoutAFlush(Sound):
    """Notes at once that a change was seen, and stores it at the flush."""

    def take(self, change: Change) -> Outcome:
        key = f"seen {change.identity}"
        if key in self.held:
            return Superseded()
        self.held[key] = (0, None)
        return super().take(change)


class RaisesInTime(Sound):
    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        if deadline.expired:
            raise TimeoutError
        return super().write(changes, deadline)


class Modifies(Sound):
    def take(self, change: Change) -> Outcome:
        change.raw_keys["seen"] = {"BOOL": True}
        return super().take(change)


class ClosesOnce(Sound):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class NamesItself(Sound):
    numbers = count()

    def __init__(self, held: Held) -> None:
        super().__init__(held)
        self.name = f"sink {next(self.numbers)}"


@pytest.mark.parametrize(
    ("sink", "claim"),
    [
        (AnswersOnce, "a_change_has_one_outcome"),
        (AnswersNothing, "a_change_has_one_outcome"),
        (AnswersTheEmptyBatch, "no_changes_have_no_outcomes"),
        (Counts, "repetition_is_harmless"),
        (NamesByTheBatch, "the_cut_makes_no_difference"),
        (TheLastWins, "late_is_never_over_newer"),
        (OwnVersionsOnly, "a_second_writer_does_no_harm"),
        (KeepsRemovedItems, "a_removal_shows"),
        (WritesAtTheClose, "flush_makes_durable"),
        (FlushesOnce, "a_sink_goes_on_after_a_flush"),
        (ForgetsWithoutAFlush, "what_was_not_flushed_may_come_again"),
        (RaisesInTime, "a_deadline_that_has_passed_raises_nothing"),
        (Modifies, "changes_are_left_as_they_are"),
        (ClosesOnce, "closing_twice_is_harmless"),
        (NamesItself, "the_name_is_constant"),
    ],
)
def test_a_sink_that_breaks_a_claim_is_found(sink: Callable[[Held], Sound], claim: str) -> None:
    held: Held = {}
    with pytest.raises((AssertionError, TimeoutError)):
        CLAIMS[claim](lambda: sink(held), lambda: _shown(held))


def test_every_claim_has_a_sentence() -> None:
    for claim in sink_contract:
        assert claim.text.endswith(".")
        assert "\n" not in claim.text


def test_a_change_that_any_sink_can_store_must_be_settled() -> None:
    class Waits(Sound):
        def take(self, change: Change) -> Outcome:
            return Deferred(Cause("never"))

    with pytest.raises(AssertionError, match="was not settled"):
        CLAIMS["a_change_has_one_outcome"](lambda: Waits({}), dict)


def test_a_flush_without_time_may_say_so() -> None:
    class Slow(Sound):
        def flush(self, deadline: Deadline) -> None:
            if deadline.expired:
                raise SinkUnavailable(self.name, "no time")
            super().flush(deadline)

    held: Held = {}
    CLAIMS["a_deadline_that_has_passed_raises_nothing"](lambda: Slow(held), lambda: _shown(held))
