"""Your own functions as a sink: on_insert, on_modify, on_remove."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence

from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.errors import Defer, Reject
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped
from cdc.records.change import Change, Operation
from cdc.slowest import Slowest

__all__ = ["FunctionSink"]

log = logging.getLogger(__name__)

Function = Callable[[Change], object]


class FunctionSink:
    """Calls a function for each change of its operation, oldest first.

    At least once: a change may come again after a crash or a retry, so a function must bear to be repeated
    (`change.identity` tells copies apart). A return is Applied, `Defer` Deferred, `Reject` Rejected; any other
    exception is tried again, `attempts` times within this process, and then Rejected. Nothing after a deferred
    change of the batch is run. None is begun that would end after the deadline if it took as long as the slowest
    before; one that is running is never cut off.
    """

    def __init__(
        self,
        *,
        on_insert: Function | None = None,
        on_modify: Function | None = None,
        on_remove: Function | None = None,
        attempts: int = 3,
        wait_seconds: float = 0.5,
        name: str = "function",
    ) -> None:
        self.name = name
        self._functions = {
            Operation.INSERT: on_insert,
            Operation.MODIFY: on_modify,
            Operation.REMOVE: on_remove,
        }
        self._attempts = attempts
        self._wait_seconds = wait_seconds
        self._failures: dict[str, int] = {}
        self._slowest = Slowest()

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Run the functions until one defers its change; what lies behind it is Deferred untried."""
        outcomes: list[Outcome] = []
        for change in changes:
            if self._slowest.allows(deadline):
                began = deadline.clock()
                outcome = self._call(change)
                self._slowest.took(deadline.clock() - began)
            else:
                outcome = Deferred.untried("the deadline has passed")
            outcomes.append(outcome)
            if isinstance(outcome, Deferred):
                behind = Deferred.untried("behind a deferred change", outcome.wait_seconds)
                return [*outcomes, *[behind] * (len(changes) - len(outcomes))]
        return outcomes

    def _call(self, change: Change) -> Outcome:
        function = self._functions[change.operation]
        if function is None:
            return Skipped("no function asks for it")
        try:
            function(change)
        except Defer as verdict:
            cause = Cause(f"{_name(function)}: {verdict.message}", CauseKind.FUNCTION_DEFERRED)
            return Deferred(cause, verdict.wait_seconds)
        except Reject as verdict:
            return Rejected(Cause(f"{_name(function)} rejected it", CauseKind.FUNCTION_REJECTED), verdict.account)
        except Exception as error:  # noqa: BLE001  (a user's function may raise anything; none of it is lost)
            return self._failed(change, function, error)
        self._failures.pop(str(change.identity), None)
        return Applied()

    def _failed(self, change: Change, function: Function, error: Exception) -> Outcome:
        identity = str(change.identity)
        failures = self._failures.get(identity, 0) + 1
        cause = f"{_name(function)} raised {type(error).__name__}"
        if failures < self._attempts:
            self._failures[identity] = failures
            attempt = Cause(f"{cause}, attempt {failures} of {self._attempts}", CauseKind.FUNCTION_FAILED)
            return Deferred(attempt, self._wait_seconds * 2 ** (failures - 1))
        self._failures.pop(identity, None)
        return Rejected(Cause(cause, CauseKind.FUNCTION_FAILED), "".join(traceback.format_exception(error)))

    def flush(self, deadline: Deadline) -> None:
        """A function that has returned has done its work."""

    def close(self) -> None:
        """Attempts are counted within an invocation, and for as long as a consumer has the shard."""
        self._failures.clear()


def _name(function: Function) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
