"""The error tree: split by what the caller does next.

```
CdcError
├── ConfigError          at start only; names the file or setting           → exit code 2
│   └── MappingError     a mapping file; carries every fault found in it    → exit code 2
├── MalformedRecord      this record can never be read; names the path      → dead letter
├── ImageMissing         the stream's view lacks the image that was asked for
├── SinkError            .sink
│   ├── SinkUnavailable  .wait_seconds                                      → try again, hold the checkpoint
│   └── SinkMisconfigured a retry cannot help                               → stop
├── NothingSettled      no record of an invocation's batch is settled          → the batch comes again
├── ConsumerFailed       a shard could not be handled; nothing of it was acknowledged → stop
├── Defer                raised by a user's function: try this change again later
└── Reject               raised by a user's function: keep this change as a dead letter
```
"""

from __future__ import annotations

from cdc.causes import Cause, CauseKind

__all__ = [
    "CdcError",
    "ConfigError",
    "ConsumerFailed",
    "Defer",
    "ImageMissing",
    "MalformedRecord",
    "MappingError",
    "NothingSettled",
    "Reject",
    "SinkError",
    "SinkMisconfigured",
    "SinkUnavailable",
]


class CdcError(Exception):
    """The root of every error that this package raises. `remedy` says what to do next, or is empty."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.remedy}" if self.remedy else self.message


class ConfigError(CdcError):
    """The set-up is wrong: raised at start, before anything is read."""


class MappingError(ConfigError):
    """Mapping files are wrong; `problems` lists every fault, one line each with file and field."""

    def __init__(self, problems: tuple[str, ...], *, remedy: str = "") -> None:
        super().__init__("\n".join(problems), remedy=remedy)
        self.problems = problems


class MalformedRecord(CdcError):
    """A record cannot be read, now or ever. `path` leads from the record to the fault, outermost name first."""

    def __init__(self, message: str, *, path: tuple[str | int, ...] = (), remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.path = path

    def under(self, *parents: str | int) -> MalformedRecord:
        """The same fault, seen from further out."""
        return MalformedRecord(self.message, path=(*parents, *self.path), remedy=self.remedy)

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {super().__str__()}" if self.path else super().__str__()


class ImageMissing(CdcError):
    """The stream's view does not carry the image that was asked for."""


class SinkError(CdcError):
    """A sink as a whole fails; `sink` is its name."""

    def __init__(self, sink: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{sink}: {message}", remedy=remedy)
        self.sink = sink


class SinkUnavailable(SinkError):
    """It is unknown whether all that was applied is durable; try again in `wait_seconds`."""

    def __init__(
        self,
        sink: str,
        message: str,
        *,
        wait_seconds: float = 1.0,
        remedy: str = "",
        kind: CauseKind = CauseKind.OTHER,
        code: str = "",
    ) -> None:
        super().__init__(sink, message, remedy=remedy)
        self.wait_seconds = wait_seconds
        self.cause = Cause(self.message, kind, code)


class SinkMisconfigured(SinkError):
    """A retry cannot help: stop, acknowledge nothing more."""


class NothingSettled(CdcError):
    """No record of a Lambda's batch is settled: the invocation fails, so that no deployment acknowledges it."""


class ConsumerFailed(CdcError):
    """A consumer met what it cannot handle and stopped before acknowledging it."""


class Defer(CdcError):
    """Raised by a user's function: this change may succeed in `wait_seconds`. `reason` is logged: it quotes no item."""

    def __init__(self, wait_seconds: float = 1.0, reason: str = "deferred by the function") -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Reject(CdcError):
    """Raised by a user's function: this change never will succeed; keep it as a dead letter.

    The reason, `detail` and `remedy` go into the dead letter only: they may quote the item.
    """

    def __init__(self, reason: str, *, detail: str = "", remedy: str = "") -> None:
        super().__init__(reason, remedy=remedy)
        self.detail = detail

    @property
    def account(self) -> str:
        """The reason, the detail and the remedy, a line each."""
        return "\n".join(filter(None, (self.message, self.detail, self.remedy and f"→ {self.remedy}")))
