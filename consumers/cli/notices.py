"""Notices: what the library logs while a command runs, as short lines on standard error, each once."""

from __future__ import annotations

import logging
import sys

__all__ = ["configure_notices"]


class _Short(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {record.getMessage()}"


class _Once(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        is_new = message not in self._seen
        self._seen.add(message)
        return is_new


def configure_notices() -> None:
    """Send warnings to standard error, so that output stays what was asked for. `cdc run` has logs of its own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Short())
    handler.addFilter(_Once())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)
