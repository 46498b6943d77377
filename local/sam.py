"""The SAM command line, in an environment of its own: it pins packages that conflict with this project's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cdc.errors import ConfigError
from consumers.kcl.artifacts import cache_folder

__all__ = ["Sam", "install_sam"]

_WANTED = Path(__file__).with_name("sam.txt")

Progress = Callable[[str, int, int], None]


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
    """What `sam.txt` names, installed once; what is there already is kept.

    Raises:
        ConfigError: it can't be installed.
    """
    folder = cache_folder() / f"sam-{sys.version_info[0]}.{sys.version_info[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    marker, program, wanted = folder / "installed.txt", folder / "bin" / "sam", _WANTED.read_text(encoding="utf-8")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once install once
        if not (program.exists() and marker.exists() and marker.read_text(encoding="utf-8") == wanted):
            progress("the SAM command line (about 250 MB)", 0, 1)
            _uv("venv", "--allow-existing", "--python", sys.executable, str(folder))
            _uv("pip", "install", "--python", str(folder / "bin" / "python"), "--requirement", str(_WANTED))
            marker.write_text(wanted, encoding="utf-8")
            progress("the SAM command line", 1, 1)
    return Sam(program)


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise ConfigError(
            f"the SAM command line can't be installed: {' '.join(command[1:])}\n{done.stderr.strip()[-2000:]}",
            remedy="Check the network, then try again.",
        )
