"""Durations as people write them: 90s, 15m, 18h, 2d."""

from __future__ import annotations

import re

from cdc.errors import ConfigError

__all__ = ["DURATION", "parse_seconds", "spoken"]

DURATION = r"^[0-9]+(\.[0-9]+)?(nanos|micros|ms|s|m|h|d)$"
"""Durations as OpenSearch writes them (OpenSearch documentation, "Time units")."""

_UNITS = {"nanos": 1e-9, "micros": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(duration: str) -> float:
    """The seconds of a duration.

    Raises:
        ConfigError: it is none.
    """
    if not re.fullmatch(DURATION, duration):
        raise ConfigError(f"{duration!r} is no duration", remedy="Write a number and a unit: 90s, 15m, 18h or 2d.")
    number = duration.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * _UNITS[duration[len(number) :]]


def spoken(duration_seconds: float) -> str:
    """A duration as a log line says it, in its two largest units: `58 s`, `5 min 3 s`, `23 h 58 min`, `6 d 3 h`."""
    left = max(0, round(duration_seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
