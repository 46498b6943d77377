"""The exit codes of `cdc`: a supervisor decides by them whether to start it again.

| code | meaning |
| --- | --- |
| 0 | an orderly end |
| 1 | it failed, or something is out of reach: the same again may succeed |
| 2 | the set-up is wrong: only a person can mend it |
| 3 | the JVM's heap is full (the JVM ends the process itself) |
| 1, 3 | of a verification also: there are differences; a repair left some over |
| 128 + n | a second signal n ended it at once: 130 after Ctrl-C, 143 after SIGTERM |
"""

from __future__ import annotations

from cdc.errors import ConfigError, SinkMisconfigured

__all__ = [
    "DIFFERENCES",
    "FAILED",
    "HEAP_IS_FULL",
    "LEFT_OVER",
    "ORDERLY",
    "WRONG_SET_UP",
    "after_signal",
    "exit_code_of",
]

ORDERLY = 0
FAILED = 1
WRONG_SET_UP = 2
HEAP_IS_FULL = 3

DIFFERENCES = 1
"""A verification has found differences."""
LEFT_OVER = 3
"""A repair has left differences over."""


def exit_code_of(error: BaseException | None) -> int:
    """The code of an end for this error; None: there was none."""
    if error is None:
        return ORDERLY
    return WRONG_SET_UP if isinstance(error, ConfigError | SinkMisconfigured) else FAILED


def after_signal(number: int) -> int:
    """The code of an end by a second signal."""
    return 128 + number
