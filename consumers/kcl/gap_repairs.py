"""Gap repairs: after a gap the tables are verified whole and mended, while the consumer goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from cdc.dead_letters.store import LetterStore
from cdc.delivery.consumer_state import Running
from cdc.errors import CdcError
from cdc.verification.findings import Findings

__all__ = ["GapRepairs"]

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 60.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class GapRepairs:
    """Repairs what gaps have left out, one source after the other, on a thread of its own.

    A source is a table, or a Kinesis stream that carries tables. What is due is known by the letters that the gaps have
    left: a source's are deleted once its tables are found equal, so that a repair that was killed begins again.
    """

    running: Running
    letters: LetterStore
    repair: Callable[[str], Findings]
    """Verifies a table and mends what differs."""
    sources: dict[str, Sequence[str]]
    """The tables of each source."""
    again_seconds: float = _AGAIN_SECONDS
    _due: SimpleQueue[str] = field(default_factory=SimpleQueue)

    def found(self, source: str) -> None:
        """A gap was recorded: until it is mended the consumer is degraded."""
        if source not in self.running.repairing:
            self.running.repairing[source] = self.running.clock()
            self._due.put(source)

    def start(self) -> None:
        """Take up what earlier processes have left, and repair until the consumer stops.

        Raises:
            SinkUnavailable: the letters can't be listed.
        """
        for source in self.sources:
            if self._letters(source):
                self.found(source)
        threading.Thread(target=self._run, name="gap-repairs", daemon=True).start()

    def _run(self) -> None:
        while not self.running.stop.is_set():
            try:
                source = self._due.get(timeout=_LOOK_SECONDS)
            except Empty:
                continue
            if not self.repaired(source):
                self.running.stop.wait(self.again_seconds)
                self._due.put(source)

    def repaired(self, source: str) -> bool:
        """Verify and mend a source's tables; True once they are equal, and the letters of its gaps are deleted."""
        log.warning("%s: repairing after a gap: the whole table is verified", source)
        # a gap that is found from now on is repaired once more
        self.running.repairing[source] = began = self.running.repairing.get(source, self.running.clock())
        try:
            letters = self._letters(source)
            for table in self.sources.get(source, (source,)):
                findings = self.repair(table)
                log.warning("%s: verified after a gap: %s", table, findings.verdict)
                if findings.left:
                    log.error("%s: %d differences are left after the repair; it is tried again", table, findings.left)
                    return False
            for key in letters:
                self.letters.delete(key)
            is_done = not self._letters(source)
        except CdcError as error:
            log.warning("%s: the repair after a gap failed, and is tried again: %s", source, error)
            return False
        if is_done and self.running.repairing.get(source) == began:
            self.running.repairing.pop(source, None)
        return is_done

    def _letters(self, source: str) -> list[str]:
        """The keys of the letters of gaps; see `Gap.letter`."""
        return [key for key in self.letters.keys(source) if key.partition("/")[2].startswith("gap_")]
