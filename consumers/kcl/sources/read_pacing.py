"""How long the KCL waits between two reads of a shard: a shard that is behind is read on at once."""

from __future__ import annotations

from typing import Any

from consumers.kcl.java.jvm import called

__all__ = ["is_behind", "make_pace"]

_POLLING = "software.amazon.kinesis.retrieval.polling."
_TIP_MILLIS = 2000
"""Records this young are no backlog: they take a while from the table to the stream."""


def is_behind(count: int | None, millis_behind: int | None, idle_millis: int, full: int) -> bool:
    """Is there more to read, as far as the last read tells? `count` is how many records it gave, `full` how many it may
    give, `millis_behind` how old the newest of them was, or how far from the stream's tip; None: the read failed.

    What was written within two usual waits is read at the usual pace, else a trickle of changes would cost two reads
    for each.
    """
    if count is None:
        return False
    return count >= full or (millis_behind or 0) > max(2 * idle_millis, _TIP_MILLIS)


def make_pace(jpype: Any, usual: Any, full: int, least_millis: int = 0) -> Any:
    """A SleepTimeController that answers as `usual` does, but for a shard that is behind: there `least_millis` lie
    between two reads. Keep it: Java calls it back."""
    instant, duration = jpype.JClass("java.time.Instant"), jpype.JClass("java.time.Duration")

    @jpype.JImplements(f"{_POLLING}SleepTimeController")
    class Pace:
        @called
        def getSleepTimeMillis(self, config: Any) -> int:  # noqa: N802  (Java's name)
            last, idle = config.lastSuccessfulCall(), int(config.idleMillisBetweenCalls())
            count, behind = _number(config.lastRecordsCount()), _number(config.lastMillisBehindLatest())
            if last is None or not is_behind(count, behind, idle, full):
                return int(usual.getSleepTimeMillis(config))
            return max(0, least_millis - int(duration.between(last, instant.now()).toMillis()))

    return Pace()


def _number(boxed: Any) -> int | None:
    return None if boxed is None else int(boxed)
