"""Pages: HTML files that a command writes, readable by their owner only."""

from __future__ import annotations

import os
from pathlib import Path

from cdc.errors import ConfigError

__all__ = ["check_place", "write_page"]


def check_place(path: Path | None) -> None:
    """See to it that a page can be written, before anything is read.

    Raises:
        ConfigError: it can't.
    """
    if path is None:
        return
    remedy = "Name a file in a folder that is there and may be written to."
    if path.is_dir():
        raise ConfigError(f"--html {path} is a folder", remedy=remedy)
    if not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--html {path} can't be written", remedy=remedy)


def write_page(path: Path, page: str) -> None:
    """Write a page that only its owner may read.

    Raises:
        ConfigError: it can't be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(page)
    except OSError as error:
        raise ConfigError(f"--html {path} can't be written: {error.strerror}", remedy="Name another file.") from error
