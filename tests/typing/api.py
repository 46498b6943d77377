"""The types of the public API: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, assert_never, assert_type

import cdc
from cdc import (
    Added,
    Applied,
    Cause,
    CauseKind,
    Change,
    Changed,
    Deadline,
    Deferred,
    Difference,
    Item,
    Operation,
    Outcome,
    Path,
    Rejected,
    Removed,
    Sink,
    Skipped,
    StreamView,
    Superseded,
)
from cdc.archive import ArchivedChange
from cdc.testing import MemorySink, ScriptedSink, change
from consumers.aws_lambda import handler_for, handler_for_sink
from consumers.aws_lambda.startup import Handler


def reads_changes(event: Mapping[str, Any]) -> None:
    assert_type(cdc.changes_from_lambda(event), Iterator[Change])
    for one in cdc.changes_from_lambda(event):
        assert_type(one.operation, Operation)
        assert_type(one.view, StreamView)
        assert_type(one.keys, Item)
        assert_type(one.before, Item | None)
        assert_type(one.after, Item | None)
        assert_type(one.created_at, datetime | None)
        assert_type(one.expired, bool)
        assert_type(one.version, int)
        assert_type(one.table, str)
        assert_type(one.differences(), Mapping[Path, Difference])


def names_every_difference(found: Difference) -> str:
    match found:
        case Added():
            return "added"
        case Removed():
            return "removed"
        case Changed():
            return "changed"
    assert_never(found)


def names_every_outcome(found: Outcome) -> str:
    match found:
        case Applied() | Superseded() | Skipped():
            return "settled"
        case Deferred():
            return "later"
        case Rejected():
            return "never"
    assert_never(found)


def gives_causes() -> Sequence[Outcome]:
    assert_type(Cause("busy").kind, CauseKind)
    Deferred("busy")  # type: ignore[arg-type]
    return [Deferred(Cause("busy", CauseKind.OVERLOADED), 1.0), Rejected(Cause("no"), "why")]


class OwnSink:
    """A sink is any class of this shape: it inherits nothing."""

    def __init__(self, name: str = "own") -> None:
        self.name = name

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return [Applied() for _ in changes]

    def flush(self, deadline: Deadline) -> None:
        raise cdc.SinkUnavailable(self.name, "not now", wait_seconds=deadline.remaining_seconds)

    def close(self) -> None:
        raise cdc.SinkMisconfigured(self.name, "never", remedy="Do something else.")


class SinkWithoutFlush:
    name = "half"

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        return []

    def close(self) -> None: ...


def takes_sinks() -> Sequence[Sink]:
    half: Sink = SinkWithoutFlush()  # type: ignore[assignment]  # and mypy says so
    return [OwnSink(), MemorySink(), ScriptedSink(lambda _: Applied()), half]


def makes_changes_by_hand() -> None:
    assert_type(change({"pk": "a"}, None, {"n": 1}), Change)
    assert_type(Deadline.after(1.0), Deadline)
    change({"pk": "a"}).afterr  # type: ignore[attr-defined]  # noqa: B018
    cdc.Chnage  # type: ignore[attr-defined]  # noqa: B018


def makes_handlers() -> None:
    def welcome(one: Change) -> None:
        print(one.keys)

    assert_type(handler_for(on_insert=welcome), Handler)
    assert_type(handler_for_sink(OwnSink()), Handler)
    handler_for(on_insert="welcome")  # type: ignore[arg-type]


def reads_an_archive(client: Any) -> None:
    assert_type(cdc.read_archive(client, "lake", "cdc", "shop"), Iterator[ArchivedChange])
