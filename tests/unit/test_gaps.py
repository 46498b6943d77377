"""Gaps: recorded or refused, never passed over; the letter says what is missing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cdc.dead_letters.letter import DeadLetter, record_of_letter
from cdc.delivery.consumer_state import Running
from cdc.errors import ConsumerFailed, SinkUnavailable
from cdc.records.decoding import Unreadable
from cdc.testing import STREAM_ARN
from consumers.kcl.leases.gaps import Gap, Gaps

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SHARD = "shardId-00000001700000000000-deadbeef"


class Store:
    """Letters in memory; `full` stores nothing."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.letters: dict[str, DeadLetter] = {}

    def keep(self, letter: DeadLetter) -> None:
        if self.full:
            raise SinkUnavailable("dead letters", "not now")
        self.letters[letter.name] = letter


def gap(after: str = "123", *, whole_shard: bool = False) -> Gap:
    return Gap(STREAM_ARN, "shop", SHARD, after, whole_shard)


def test_a_gap_stops_the_process_unless_told_otherwise() -> None:
    running = Running()
    with pytest.raises(ConsumerFailed, match="CDC_ON_GAP=continue"):
        Gaps(running, None).found(gap())
    assert running.stop.is_set()
    assert isinstance(running.failure, ConsumerFailed)


def test_a_gap_is_kept_before_reading_goes_on_behind_it() -> None:
    running, store = Running(), Store()
    Gaps(running, store, lambda: NOW).found(gap())
    (letter,) = store.letters.values()
    assert (letter.sink, letter.table, letter.stream, letter.sequence) == ("stream", "shop", STREAM_ARN, "123")
    assert letter.record == {"shard": SHARD, "after": "123", "wholeShard": False}
    assert not running.stop.is_set()


def test_reading_does_not_go_on_behind_a_gap_that_could_not_be_kept() -> None:
    running = Running()
    with pytest.raises(SinkUnavailable):
        Gaps(running, Store(full=True)).found(gap())
    assert not running.stop.is_set()


def test_the_same_gap_is_one_letter() -> None:
    store = Store()
    for found in (gap(), gap(), gap("124"), gap("")):
        Gaps(Running(), store).found(found)
    assert len(store.letters) == 3


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (gap(), "everything after sequence number 123 may be missing, up to what the stream still keeps"),
        (gap("", whole_shard=True), "the shard is gone; everything from its beginning may be missing"),
        (gap(), "(made 2023-11-14T22:13:20Z)"),
    ],
    ids=["trimmed", "gone", "when the shard was made"],
)
def test_a_gap_says_what_is_missing_since_when(found: Gap, text: str) -> None:
    assert text in found.text


def test_a_gaps_letter_is_no_change_that_could_be_redriven() -> None:
    letter = DeadLetter.from_json(gap().letter(NOW).to_json())
    assert isinstance(record_of_letter(letter), Unreadable)
