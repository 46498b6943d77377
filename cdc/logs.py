"""Logs: standard logging, as JSON lines where nobody watches a terminal."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

__all__ = ["configure_logging", "json_lines"]


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def json_lines() -> logging.Formatter:
    """Formats a record as a line of JSON."""
    return _JsonLines()


def configure_logging(level: str) -> None:
    """Send logs to standard error: text at a terminal, JSON lines elsewhere. Replaces what was configured before."""
    handler = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("opensearch", "urllib3", "botocore", "boto3"):
        logging.getLogger(noisy).setLevel(logging.WARNING if noisy != "opensearch" else logging.CRITICAL)
