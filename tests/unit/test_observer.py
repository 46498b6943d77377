"""Observers: each receives every event; the status file is one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from cdc.causes import KINDS, Cause, CauseKind
from cdc.delivery.shard import BatchFacts
from cdc.observer import ChangesSettled, Event, RecordsSettled, VersionsTied, Wrote, observe_all
from consumers.kcl.status_file import StatusFile, tell


def test_several_observers_each_receive_every_event_in_their_order() -> None:
    seen: list[tuple[str, Event]] = []
    both = observe_all(lambda event: seen.append(("a", event)), lambda event: seen.append(("b", event)))
    both(VersionsTied("orders"))
    assert seen == [("a", VersionsTied("orders")), ("b", VersionsTied("orders"))]


def test_events_are_facts() -> None:
    for kind in get_args(Event):
        assert kind.__dataclass_params__.frozen, kind


def test_every_kind_of_cause_has_a_rule() -> None:
    assert set(KINDS) == set(CauseKind)


@pytest.mark.parametrize("kind", CauseKind)
def test_a_label_is_the_code_or_else_the_kind(kind: CauseKind) -> None:
    assert Cause("text with 123 and a name", kind).label == kind.value
    assert Cause("text", kind, "SlowDown").label == "SlowDown"


def test_causes_are_the_same_by_kind_and_code_whatever_their_texts() -> None:
    one, other = (Cause(f"request {number} failed", CauseKind.FUNCTION_DEFERRED) for number in (1, 2))
    assert one.key == other.key
    assert one.key != Cause("request 1 failed", CauseKind.FUNCTION_DEFERRED, "busy").key


def test_the_status_file_has_a_line_for_a_sink_s_outcomes_and_one_for_a_batch(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "status.jsonl")
    status(Wrote("opensearch", Counter(applied=2, skipped=1)))
    status.batch(BatchFacts("shard-1", "shop", Counter(applied=2, skipped=1), 5, 7))
    assert [json.loads(line) for line in (tmp_path / "status.jsonl").read_text().splitlines()] == [
        {"sink": "opensearch", "outcomes": {"applied": 2, "skipped": 1}},
        {"shard": "shard-1", "table": "shop", "settled": 3, "millis_behind": 5, "newest_micros": 7},
    ]


def test_a_batch_is_told_as_records_and_as_changes_of_each_table() -> None:
    told: list[Event] = []
    changes = Counter({("shop", "INSERT"): 2, ("orders", "REMOVE"): 1})
    facts = BatchFacts("shard-1", "a-stream", Counter(applied=3, rejected=1), 5, 7, "", changes, 0.5, 900)
    tell(told.append, facts)
    assert told == [
        RecordsSettled("a-stream", 4, 0.5, 900),
        ChangesSettled("shop", "INSERT", 2),
        ChangesSettled("orders", "REMOVE", 1),
    ]
