"""The SAM command line, in an environment of its own: it pins packages that conflict with this project's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from consumers.kcl.java.artifacts import cache_folder
from local.environments import Progress, install_environment

__all__ = ["Sam", "install_sam"]

_WANTED = Path(__file__).with_name("sam.txt")


@dataclass(frozen=True, slots=True)
class Sam:
    """`sam`, which talks to nobody: no telemetry, no credentials."""

    program: Path

    def run(self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The exit code, and all that the command prints."""
        variables = {
            **os.environ,
            "SAM_CLI_TELEMETRY": "0",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            **(environment or {}),
        }
        done = subprocess.run(  # noqa: S603  (our own command)
            [str(self.program), *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr


def install_sam(progress: Progress) -> Sam:
    """Install the SAM CLI of `sam.txt`, once; what is there already is kept.

    Raises:
        ConfigError: it can't be installed.
    """
    folder = cache_folder() / f"sam-{sys.version_info[0]}.{sys.version_info[1]}"
    python = install_environment(folder, _WANTED, "the SAM command line (about 250 MB)", progress)
    return Sam(python.with_name("sam"))
