"""Turns: tests on real servers that take long and are alike in what they need are played one a day.

A test that is marked `turn("group")` takes its turn with the others of its group, by the date. `PLAYS=all` plays all
of them, and whoever asks for a single one by its name gets it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import pytest

__all__ = ["not_their_turn", "today"]


def today() -> date:
    """The day by which turns are taken: that on which the tests began, in each of pytest's processes."""
    return date.fromisoformat(os.environ.setdefault("TURNS_OF", datetime.now(UTC).date().isoformat()))


def not_their_turn(items: Iterable[pytest.Item], day: date) -> Sequence[pytest.Item]:
    """The tests that are not played on this day."""
    if os.environ.get("PLAYS") == "all":
        return ()
    groups: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        mark = item.get_closest_marker("turn")
        if mark is not None:
            groups[mark.args[0]].append(item)
    left: list[pytest.Item] = []
    for group in groups.values():
        group.sort(key=lambda item: item.nodeid)
        ours = group[day.toordinal() % len(group)]
        left += [item for item in group if item is not ours]
    return left
