"""Tasks: processes that run beside everything else in a simulation, each for as long as it is let.

A task has a thread, and only one thread runs at a time: the same seed gives the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread, current_thread

from cdc.testing.faults import Killed

__all__ = ["Task"]


class Task:
    """Something that goes on by steps: `act` runs until it pauses, and on from there at the next step."""

    def __init__(self, name: str, act: Callable[[Task], object]) -> None:
        self.name = name
        self.wake_at = 0.0
        """The time before which it should not be let on: it sleeps."""
        self.meanwhile: Callable[[], object] | None = None
        """The event that it waits for."""
        self.step_name = ""
        """The part of its work that it is at."""
        self.has_unwritten = False
        """Has it a page with items in hand that no request has written yet?"""
        self.read_at: float | None = None
        """When it began to read the page that it has in hand."""
        self.error: BaseException | None = None
        """The error that ended it, if there was one."""
        self.done = False
        self._act = act
        self._killed = False
        self._mine, self._theirs = Lock(), Lock()
        self._mine.acquire()
        self._theirs.acquire()
        self._thread: Thread | None = None

    def step(self) -> None:
        """Let it go on until it pauses or ends."""
        if self.done:
            return
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        else:
            self._mine.release()
        self._theirs.acquire()

    def kill(self) -> None:
        """End it where it stands."""
        self._killed = True
        if self._thread is None:
            self.done = True
        while not self.done:
            self.step()

    def pause(self, until: float = 0.0, meanwhile: Callable[[], object] | None = None) -> None:
        """Let others go on, until a time, and let something happen; the task itself calls this.

        Raises:
            Killed: it was killed meanwhile.
        """
        if current_thread() is not self._thread:
            raise AssertionError("a task pauses itself")
        self.wake_at, self.meanwhile = until, meanwhile
        if not self._killed:
            self._theirs.release()
            self._mine.acquire()
        if self._killed:
            raise Killed

    def _run(self) -> None:
        try:
            self._act(self)
        except BaseException as error:  # noqa: BLE001  (whoever waits for it looks at it)
            self.error = error
        self.done = True
        self._theirs.release()
