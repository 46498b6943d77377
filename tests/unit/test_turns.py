"""Turns: of the long tests of a group one is played each day, and each of them comes up."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from tests.turns import not_their_turn, today

DAYS = [date(2026, 12, 30) + timedelta(days=number) for number in range(3)]


class Item:
    """A test, as pytest has collected it."""

    def __init__(self, nodeid: str, group: str | None) -> None:
        self.nodeid = nodeid
        self.group = group

    def get_closest_marker(self, name: str) -> Any:
        return pytest.mark.turn(self.group).mark if self.group and name == "turn" else None


ITEMS: list[Any] = [Item("b", "gap"), Item("a", "gap"), Item("c", "gap"), Item("alone", "other"), Item("always", None)]


def played(day: date) -> list[str]:
    left = not_their_turn(ITEMS, day)
    return [item.nodeid for item in ITEMS if item not in left]


def test_each_of_a_group_has_its_day_and_what_has_no_group_is_played_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLAYS", raising=False)
    assert sorted({name for day in DAYS for name in played(day)}) == ["a", "alone", "always", "b", "c"]
    assert all(len(played(day)) == 3 for day in DAYS)


def test_all_are_played_for_whoever_asks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAYS", "all")
    assert played(DAYS[0]) == ["b", "a", "c", "alone", "always"]


def test_the_day_stays_the_same_while_the_tests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNS_OF", "2026-01-02")
    assert today() == date(2026, 1, 2)
