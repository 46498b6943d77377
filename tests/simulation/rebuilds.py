"""Rebuilds of a simulation: begun, killed, gone on with, rolled back, given up and finished, by people who do not ask
each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.tasks import Task

if TYPE_CHECKING:
    from tests.simulation.processes import Process
    from tests.simulation.world import World

__all__ = ["Rebuilds"]

_INDEX = "orders"


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
        searched, note = self._world.files.searched, self._world.files.note
        return None if note is None or searched is None else searched.index == note.new

    def _run(self, task: Task) -> None:
        process = self._process(task)
        process.rebuild(self._world.files.of_rebuild()).run(_INDEX)
        self._count("rebuilds swapped")

    def _end(self, task: Task, way: str) -> None:
        rebuild = self._process(task).rebuild(self._world.files.of_rebuild())
        {"rollback": rebuild.rollback, "finish": rebuild.finish, "abort": rebuild.abort}[way](_INDEX)
        self._count(f"rebuilds: {way}")

    def _process(self, task: Task) -> Process:
        return self._world.errands.process(task)

    def _count(self, name: str) -> None:
        self._world.errands.count(name)
