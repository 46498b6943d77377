"""The demo's commands: `cdc …` as people run it, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from local.demo.traffic import TABLE
from local.process import ServerFailed

__all__ = ["Command", "said", "verified"]

_SECONDS = 180.0
_CDC = (sys.executable, "-m", "consumers.cli.main")


@dataclass
class Command:
    """A command that tells how far it is as JSON lines, while it runs."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    @classmethod
    def start(cls, environment: Mapping[str, str], run: Path, *arguments: str) -> Command:
        """Begin one; `run` takes its log."""
        name = f"cdc {arguments[0]}"
        process = subprocess.Popen(  # noqa: S603  (our own command)
            [*_CDC, *arguments, "--json"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return cls(name, process, run / f"{arguments[0]}.log")

    def told(self) -> Iterator[dict[str, Any]]:
        """The facts that it tells, as they come, until it ends.

        Raises:
            ServerFailed: it takes too long.
        """
        assert self.process.stdout is not None  # noqa: S101  (a pipe)
        overdue = Timer(_SECONDS, self.process.kill)
        overdue.start()
        try:
            with self.log.open("a", encoding="utf-8") as log:
                for line in self.process.stdout:
                    log.write(line)
                    if line.startswith("{"):
                        yield json.loads(line)
            code = self.process.wait()
        finally:
            overdue.cancel()
        if code < 0:
            raise ServerFailed(f"{self.name} took longer than {_SECONDS:.0f} s, or was killed:\n{self._tail()}")

    def result(self, show: Callable[[dict[str, Any]], None] = lambda _facts: None) -> dict[str, Any]:
        """The facts that it ends with, once it has ended; `show` is given what it tells before.

        Raises:
            ServerFailed: it failed, or takes too long.
        """
        results = []
        for facts in self.told():
            if "result" in facts:
                results.append(facts["result"])
            show(facts)
        if not results:
            raise ServerFailed(f"{self.name} failed with exit code {self.process.returncode}:\n{self._tail()}")
        return dict(results[-1])

    def stop(self) -> None:
        """End it, if it runs."""
        self.process.kill()
        self.process.wait()

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8")[-2000:]


def said(environment: Mapping[str, str], *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """The output of a command.

    Raises:
        ServerFailed: it ended with another exit code, or said nothing.
    """
    done = subprocess.run(  # noqa: S603  (our own command)
        [*_CDC, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode not in codes or not done.stdout:
        raise ServerFailed(f"cdc {' '.join(arguments)} failed with exit code {done.returncode}:\n{done.stderr}")
    return done.stdout


def verified(environment: Mapping[str, str]) -> dict[str, Any]:
    """The findings of `cdc verify`; differences are findings too.

    Raises:
        ServerFailed: it failed.
    """
    return dict(json.loads(said(environment, "verify", "--table", TABLE, "--json", codes=(0, 1))))
