"""Logs: standard logging, as short lines for people at a terminal, as JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

__all__ = ["JsonLines", "TextLines", "configure_lambda_logging", "configure_logging"]

JAVA = "jvm."
"""The names of Java's loggers begin so."""


class JsonLines(logging.Formatter):
    """Formats a record as a line of JSON. What a caller gives as `extra={"facts": {…}}` are fields of their own; in
    Lambda every line has the request's id. `end`: what ends a line, where the handler does not."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self._end = end

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := getattr(record, "aws_request_id", None):  # put there by a filter of Lambda's handler
            line["requestId"] = request
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode() + self._end


def configure_lambda_logging(level: str) -> None:
    """Have Lambda's own handler write JSON lines, whichever of its log formats is chosen: its time and level are named
    as Lambda's level filter wants them (AWS Lambda Developer Guide, "Configuring advanced logging controls")."""
    root = logging.getLogger()
    root.setLevel(level)
    for handler in root.handlers:
        if type(handler).__module__.startswith("awslambdaric"):
            handler.setFormatter(JsonLines(end="\n"))
    _quiet()


class TextLines(logging.Formatter):
    """Formats a record as a short line for people: the time, the level unless it is INFO, the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The line, without an exception's traceback."""
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        origin = "the KCL: " if record.name.startswith(JAVA) else ""
        return f"{record.asctime} {level}{origin}{record.message}"


def configure_logging(level: str, form: Literal["auto", "json", "text"] = "auto") -> None:
    """Send logs to standard error. `auto`: text at a terminal, JSON lines elsewhere. Replaces what was configured
    before."""
    handler = logging.StreamHandler(sys.stderr)
    is_text = sys.stderr.isatty() if form == "auto" else form == "text"
    handler.setFormatter(TextLines() if is_text else JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    _quiet()


def _quiet() -> None:
    for noisy in ("urllib3", "botocore", "boto3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)
