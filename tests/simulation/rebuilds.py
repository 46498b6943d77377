"""Rebuilds of a simulation: begun, killed, gone on with, rolled back, given up and finished, by people who do not ask
each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cdc.errors import ConfigError
from tests.simulation.tasks import Task
from tests.simulation.truth import is_of_changed_file

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World

__all__ = ["Rebuilds", "is_refused"]

_INDEX = "orders"
_REFUSALS = (
    "was rebuilt",
    "can't be moved",
    "can't be given up",
    "can't be deleted",
    "being given up",
    "is not being rebuilt",
    "there is nothing to roll back",
    "searches of orders see",
    "a part of another rebuild",
    "at this very moment",
    "not proven",
    "cluster_block_exception",
    "index_not_found_exception",
    "others write to the memory",
    "was aborted",
    "stands still",
    "there is no index",
)
"""Whoever meets another person's work, or an index that somebody has blocked or deleted, is told so."""


class Rebuilds:
    """The rebuilds of a world's index."""

    def __init__(self, world: World, start: Callable[[str, Callable[[Task], object]], None]) -> None:
        self.are_wanted = world.plan.rebuilds
        self._world = world
        self._start = start

    def begin(self) -> None:
        """Somebody begins a rebuild, or goes on with it, beside whoever runs it already."""
        self._start("rebuild", self._run)

    def end(self, amount: int) -> None:
        """Somebody goes back, gives the rebuild up, or deletes the old index."""
        swapped = self._is_swapped
        if swapped is not None:
            ways = ("rollback", "finish") if swapped else ("abort",)
            self._start("end of a rebuild", lambda task: self._end(task, ways[amount % len(ways)]))

    def conclude(self, run_out: Callable[[], object], times: int) -> None:
        """Bring what is begun to one end or the other: given up, or swapped and maybe finished."""
        for turn in range(times):
            swapped = self._is_swapped
            if swapped is None or (swapped and turn and self._world.plan.seed % 2):
                return
            if swapped:
                self.end(self._world.chance.choice([0, 1, 1]))
            elif self._world.chance.random() < 0.2:
                self.end(0)
            else:
                self.begin()
            run_out()
        self._world.checker.violated("a rebuild does not come to an end")

    @property
    def beside(self) -> str | None:
        """The concrete index that stands by."""
        searched = self._world.files.searched
        if searched is None or searched.rebuild is None:
            return None
        return next((name for name in searched.members if name != searched.index), None)

    @property
    def _is_swapped(self) -> bool | None:
        """Is the new index searched? None: there is no rebuild."""
        searched = self._world.files.searched
        notes = [self._world.files.memory(name).rebuild for name in self._world.files.concretes(_INDEX)]
        note = next((note for note in notes if note is not None), None)
        return None if note is None or searched is None else searched.index == note.new

    def _run(self, task: Task) -> None:
        process = self._process(task)
        result = process.rebuild(self._world.files.of_rebuild()).run(_INDEX)
        self._count("rebuilds swapped")
        if is_of_changed_file(result.note.new) == is_of_changed_file(result.note.old):
            self._world.checker.violated(f"{result.note.new} is rebuilt by the file of {result.note.old}")

    def _end(self, task: Task, way: str) -> None:
        rebuild = self._process(task).rebuild(self._world.files.of_rebuild())
        {"rollback": rebuild.rollback, "finish": rebuild.finish, "abort": rebuild.abort}[way](_INDEX)
        self._count(f"rebuilds: {way}")

    def _process(self, task: Task) -> Process:
        return self._world.errands.process(task)

    def _count(self, name: str) -> None:
        self._world.errands.count(name)


def is_refused(error: ConfigError) -> bool:
    """Does it stand still because of somebody else's work?"""
    return any(text in str(error) for text in _REFUSALS)
