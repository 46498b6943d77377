"""The demo fits 80 columns, loses no column, and ends with the verdict."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from local.demo.judge import Verdict
from local.demo.screen import Differences, Look, Status, counts, line, picture, verdict_panel
from local.demo.traffic import Traffic

INDEXED = Counter(applied=5_855_000, superseded=963_000, skipped=2_698_000, rejected=12_345)
LOOK = Look(15.2, 9_528_345, Status(9_516_000, INDEXED))


def shown(made: Any) -> list[str]:
    out = StringIO()
    Console(file=out, width=80, force_terminal=True, color_system=None).print(made)
    return out.getvalue().splitlines()


def differences() -> Differences:
    client: Any = None
    found = Differences(client, "")
    found.last.extend(["MODIFY  ORDER#680266116          note Siobhán → 李雷 " * 3] * 2)
    return found


@pytest.mark.parametrize("make", [lambda: picture(LOOK, differences()), lambda: counts(LOOK)], ids=["live", "last"])
def test_no_column_is_lost_at_80_columns(make: Callable[[], Any]) -> None:
    lines = shown(make())
    assert all(cell_len(text) <= 80 for text in lines)
    words = " ".join(lines).split()
    for name in ("written", "changes/s", "applied", "superseded", "skipped", "dead", "letters", "records", "behind"):
        assert name in words
    for number in (9_528_345, round(9_528_345 / 15.2), 5_855_000, 963_000, 2_698_000, 12_345, 12_345):
        assert str(number) in words
    assert "superseded: a newer change of the same item in its batch was written instead" in lines


def test_a_difference_is_one_line() -> None:
    assert len([text for text in shown(picture(LOOK, differences())) if "ORDER#680266116" in text]) == 2


def test_the_verdict_tells_the_rate_and_what_was_compared() -> None:
    good = Verdict(items_equal=4713, changes=9516, archived=9516)
    text = "\n".join(shown(verdict_panel(good, 0, Look(15, 9516, LOOK.status))))
    assert "PASSED" in text
    assert "9516 changes written in 15 s: 634 changes/s" in text
    assert "4713 items equal, 0 missing, 0 stale, 0 extra" in text
    assert "9516 changes archived, each once; 0 dead letters" in text


@pytest.mark.parametrize(
    ("verdict", "letters", "told"),
    [
        (Verdict(missing=["orders/a"]), 0, "missing: orders/a"),
        (Verdict(changes=2, archived=1), 0, "1 changes archived, of 2 in the stream"),
        (Verdict(), 3, "3 dead letters"),
    ],
)
def test_a_bad_verdict_says_what_differs(verdict: Verdict, letters: int, told: str) -> None:
    text = "\n".join(shown(verdict_panel(verdict, letters, LOOK)))
    assert "FAILED" in text
    assert told in text


def test_a_line_names_the_unit_of_what_is_behind() -> None:
    assert line(Look(4, 2000, Status(1500, Counter(applied=1500)))) == (
        "   4 s: 2000 written (500 changes/s); 1500 applied; 500 records behind"
    )


class Table:
    """Counts the changes of each request."""

    def __init__(self) -> None:
        self.changes, self.largest = 0, 0
        self._lock = threading.Lock()

    def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803  (boto3's name)
        (requests,) = RequestItems.values()
        keys = [(one["PutRequest"]["Item"]["pk"]["S"], one["PutRequest"]["Item"]["sk"]["S"]) for one in requests]
        assert len(set(keys)) == len(keys)
        with self._lock:
            self.changes += len(keys)
            self.largest = max(self.largest, len(keys))
        return {"UnprocessedItems": {}}

    def update_item(self, **_: Any) -> None:
        with self._lock:
            self.changes += 1

    delete_item = update_item


def test_traffic_is_written_at_its_rate_and_counted() -> None:
    table: Any = Table()
    traffic = Traffic(table, 1.0, per_second=600)
    for writer in traffic.start():
        writer.result()
    assert traffic.written == table.changes
    assert 600 <= traffic.written <= 1400  # and what may come at once
    assert table.largest <= 25
