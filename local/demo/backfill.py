"""The demo's commands: `cdc backfill` while the table is written to, then `cdc verify`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.demo.traffic import TABLE
from local.process import ServerFailed

__all__ = ["BackfillRun", "verified"]

_SECONDS = 120.0
_CDC = (sys.executable, "-m", "consumers.cli.main")


@dataclass
class BackfillRun:
    """A backfill in a process of its own."""

    process: subprocess.Popen[str]
    log: Path

    @classmethod
    def start(cls, environment: Mapping[str, str], run: Path) -> BackfillRun:
        """Begin one; `run` takes its log."""
        log = run / "backfill.log"
        with log.open("w") as errors:
            process = subprocess.Popen(  # noqa: S603  (our own command)
                [*_CDC, "backfill", "--table", TABLE, "--json"],
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        return cls(process, log)

    def result(self) -> dict[str, Any]:
        """The items that it has loaded, and its findings, once it has ended.

        Raises:
            ServerFailed: it failed, or takes too long.
        """
        try:
            told, _ = self.process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"the backfill takes longer than {_SECONDS:.0f} s:\n{self._tail()}") from error
        results = [facts["result"] for line in told.splitlines() if "result" in (facts := json.loads(line))]
        if not results:
            raise ServerFailed(f"the backfill failed with exit code {self.process.returncode}:\n{self._tail()}")
        return dict(results[-1])

    def stop(self) -> None:
        """End it, if it runs."""
        self.process.kill()
        self.process.wait()

    def _tail(self) -> str:
        return self.log.read_text(encoding="utf-8")[-2000:]


def verified(environment: Mapping[str, str]) -> dict[str, Any]:
    """The findings of `cdc verify`.

    Raises:
        ServerFailed: it failed.
    """
    done = subprocess.run(  # noqa: S603  (our own command)
        [*_CDC, "verify", "--table", TABLE, "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    try:
        return dict(json.loads(done.stdout))
    except json.JSONDecodeError as error:
        raise ServerFailed(f"the verification failed with exit code {done.returncode}:\n{done.stderr}") from error
