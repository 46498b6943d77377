"""Python environments of tools that pin what would conflict with this project's packages: each has its own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from cdc.errors import ConfigError
from consumers.kcl.java.artifacts import Progress

__all__ = ["Progress", "install_environment", "uv"]


def install_environment(
    folder: Path,
    requirements: Path,
    what: str,
    progress: Progress,
    *install: str,
    python: str = sys.executable,
) -> Path:
    """The Python of the environment in `folder`, which has what `requirements` names. Installed once, however many runs
    ask for it; what is there already is kept.

    Args:
        what: is installed, for who waits.
        install: uv's command; default: `pip install --requirement`.
        python: the interpreter it is made of.

    Raises:
        ConfigError: it can't be installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = requirements.read_text(encoding="utf-8")
    marker, installed = folder / "installed.txt", folder / "bin" / "python"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and marker.exists() and marker.read_text(encoding="utf-8") == wanted:
            return installed
        progress(what, 0, 1)
        uv(what, "venv", "--allow-existing", "--python", python, str(folder))
        command = install or ("pip", "install", "--requirement")
        uv(what, *command, str(requirements), "--python", str(installed))
        marker.write_text(wanted, encoding="utf-8")
        progress(what, 1, 1)
    return installed


def uv(what: str, *arguments: str) -> None:
    """Run uv, to install `what`.

    Raises:
        ConfigError: it fails.
    """
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise ConfigError(
            f"{what} can't be installed: {' '.join(command[1:])}\n{done.stderr.strip()[-2000:]}",
            remedy="Check the network, then try again.",
        )
