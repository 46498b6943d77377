"""Moments as people give them to commands: a time, or how long ago it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

from cdc.duration import parse_seconds
from cdc.errors import ConfigError

__all__ = ["moment_of"]


@overload
def moment_of(text: str) -> datetime: ...


@overload
def moment_of(text: str | None) -> datetime | None: ...


def moment_of(text: str | None) -> datetime | None:
    """The time of an ISO 8601 text (UTC where it names no zone), or that long ago; None of none.

    Raises:
        ConfigError: it is neither.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        try:
            return datetime.now(UTC) - timedelta(seconds=parse_seconds(text))
        except ConfigError:
            raise ConfigError(
                f"{text!r} is no time", remedy="Write 2026-01-15T09:30 (UTC), or how long ago: 2h, 3d."
            ) from None
