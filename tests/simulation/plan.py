"""Plans: what happens in a simulation, drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from cdc.records.change import StreamView

__all__ = ["Consumer", "Event", "Plan", "draw_plan", "key_of"]

Consumer = Literal["lambda", "kcl", "lambda and kcl", "kinesis"]

_ITEMS = 5
_EVENTS = (40, 110)
_WEIGHTS = {
    "put": 34.0,
    "burst": 3.0,
    "delete": 8.0,
    "expire": 2.0,
    "turns": 34.0,
    "wait": 5.0,
    "split": 2.0,
    "roll": 2.0,
    "merge": 1.0,
    "new stream": 1.0,
    "new table": 0.4,
    "restart": 1.0,
    "hide alias": 2.0,
    "block": 1.0,
    "crash": 2.0,
    "freeze": 2.0,
    "hand over": 1.5,
    "new worker": 1.0,
    "outage": 0.15,
    "backlog": 0.04,
}
_ERRANDS = {
    "backfill": 2.0,
    "verify": 0.5,
    "repair": 0.5,
    "audit": 0.5,
    "tamper": 0.5,
    "replay": 0.5,
    "export": 0.5,
    "export load": 1.5,
}
"""More events, for the plans that have errands."""
_REPAIRS = frozenset({"repair", "audit", "tamper"})
"""A repair mends what a load has done wrong: most plans do without."""
_WITH_REPAIRS = 0.35
_WITH_ERRANDS = 0.45
_WITH_REBUILDS = 0.15
_NOT_WITH_REBUILDS = frozenset({*_ERRANDS, "new stream", "new table", "hide alias"})
"""A process that starts anew, and a person who mends an index, would have to know which mapping file is deployed."""
_REBUILDS = 0.12
"""The share of the other events that are steps of a rebuild."""
_FULL = 8
_WITHOUT_TABLE_READS = frozenset({"new table"})
"""Events that can't be told from the stream alone where images are read back from the table."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens. `item` is the place of an item, or of whatever the kind is about; `amount` its size."""

    kind: str
    item: int
    amount: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A simulation that can be repeated: the same plan, the same run."""

    seed: int
    consumer: Consumer
    view: StreamView
    on_remove: Literal["delete", "tombstone"]
    fault_rate: float
    disturbance: float
    """How likely a process is disturbed (killed, frozen, given up on) at each of its requests."""
    poison: bool
    """Are there documents that OpenSearch refuses for ever?"""
    shards: int
    full: int
    """So many items are in the table before its stream is on: no record tells of them."""
    archive_known: bool
    """Do errands have the archive, to find what was deleted since?"""
    events: tuple[Event, ...]
    rebuilds: bool = False
    """Is an index rebuilt, by one mapping file and the other in turns?"""

    def with_events(self, places: list[int] | tuple[int, ...]) -> Plan:
        """The same with the events at these places only."""
        return replace(self, events=tuple(self.events[place] for place in places))


def draw_plan(seed: int) -> Plan:
    """The plan of a seed."""
    chance = random.Random(f"plan {seed}")  # noqa: S311  (not a secret)
    consumers: list[Consumer] = ["lambda", "kcl", "lambda and kcl", "kinesis"]
    consumer = chance.choices(consumers, [3, 5, 2, 2])[0]
    view = chance.choices(list(StreamView), [5 if view is StreamView.NEW_AND_OLD_IMAGES else 1 for view in StreamView])[
        0
    ]
    if consumer == "kinesis":
        view = StreamView.NEW_AND_OLD_IMAGES  # all that there is
    weights = dict(_WEIGHTS)
    if not view.has_new_image:
        weights.update(dict.fromkeys(_WITHOUT_TABLE_READS, 0.0))
    if consumer == "kinesis":
        weights.update({"new stream": 0.0, "new table": 0.0})
    with_errands = chance.random() < _WITH_ERRANDS
    if with_errands:
        weights.update(_ERRANDS)
        if chance.random() > _WITH_REPAIRS:
            weights.update(dict.fromkeys(_REPAIRS, 0.0))
    kinds = chance.choices(list(weights), list(weights.values()), k=chance.randint(*_EVENTS))
    full = chance.choice([0, *[chance.randint(1, _FULL)] * 2]) if with_errands else 0
    if full and chance.random() < 0.5:
        kinds.insert(0, "backfill")  # while the first changes are made
    rebuilds = random.Random(f"rebuilds {seed}")  # noqa: S311  (not a secret)
    with_rebuilds = rebuilds.random() < _WITH_REBUILDS
    if with_rebuilds:
        steps = ["rebuild", "end rebuild"]
        full = 0
        kinds = [
            rebuilds.choice(steps) if kind in _NOT_WITH_REBUILDS or rebuilds.random() < _REBUILDS else kind
            for kind in ["rebuild", *kinds]
        ]
    return Plan(
        seed=seed,
        consumer=consumer,
        view=view,
        on_remove=chance.choice(["delete", "tombstone"]),
        fault_rate=chance.choice([0.0, 0.05, 0.15, 0.3]),
        disturbance=chance.choice([0.0, 0.02, 0.08]),
        poison=view.has_new_image and chance.random() < 0.3,
        shards=chance.choice([1, 1, 2]),
        full=full,
        archive_known=chance.random() < 0.6,
        events=tuple(Event(kind, chance.randrange(_ITEMS), chance.randint(1, 12)) for kind in kinds),
        rebuilds=with_rebuilds,
    )


def key_of(item: int) -> tuple[str, str]:
    """The key of an item by its place: some share their partition."""
    return "C#1" if item % 2 else f"C#{item}", f"O#{item}"
