"""Runs a command and ends it, with all that it started, when whoever asked for it is gone.

`python -m local.supervise COMMAND…` with a pipe as standard input: when the pipe closes, for whatever reason, SIGKILL
of its writer included, the command is terminated. Signals are left to it: it lives in a session of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress

import psutil

__all__ = ["end", "main"]

GRACE_SECONDS = 8.0


def end(process: psutil.Process, grace_seconds: float = GRACE_SECONDS) -> None:
    """Terminate a process and its descendants; kill what has not ended after the grace."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    _, alive = psutil.wait_procs(family, timeout=grace_seconds)
    for member in alive:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=grace_seconds)


def main() -> int:
    """Run the command of the arguments until it ends or standard input closes."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603  (our own caller's command)
    process = psutil.Process(child.pid)

    ending = threading.Event()

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would outlive this thread at exit
            pass
        ending.set()
        end(process)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    status = child.wait()
    if ending.is_set():  # what the command has started may not be ended yet
        watcher.join()
    return status


if __name__ == "__main__":
    sys.exit(main())
