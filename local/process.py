"""A server's process: started under supervision, awaited, stopped; its log kept and shown when it fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cdc.errors import CdcError

__all__ = ["ServerFailed", "ServerProcess", "free_port", "start"]


class ServerFailed(CdcError):
    """A local server ended, or did not answer in time."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class ServerProcess:
    """A running server. It ends when this process does, however that ends."""

    name: str
    supervisor: subprocess.Popen[bytes]
    log_path: Path

    @property
    def server(self) -> psutil.Process:
        """The server's own process, below its supervisor."""
        return psutil.Process(self.supervisor.pid).children()[0]

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Return when `ready()` is true.

        Raises:
            ServerFailed: with the end of its log, if the server ends before or takes longer.
        """
        until = time.monotonic() + timeout_seconds
        while not ready():
            if self.supervisor.poll() is not None:
                raise ServerFailed(f"{self.name} ended with {self.supervisor.returncode}:\n{self.tail()}")
            if time.monotonic() > until:
                raise ServerFailed(f"{self.name} did not answer in {timeout_seconds:.0f} s:\n{self.tail()}")
            time.sleep(0.1)

    def tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """Ask the server to end, and see to it."""
        if self.supervisor.stdin is not None:
            self.supervisor.stdin.close()
        self.supervisor.wait(30)

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self.server.kill()
        self.supervisor.wait(30)


def start(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log_path: Path
) -> ServerProcess:
    """Start a server in `folder`."""
    # the package is found from here, and not shadowed by what the server's own environment says
    search = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    with log_path.open("ab") as log:
        supervisor = subprocess.Popen(  # noqa: S603  (our own servers)
            [sys.executable, "-m", "local.supervise", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **environment, "PYTHONPATH": search},
            start_new_session=True,
        )
    return ServerProcess(name, supervisor, log_path)
