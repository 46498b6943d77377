"""The function that redrives dead letters, as Lambda loads it: `consumers.redrive_function.handler`."""

from __future__ import annotations

from consumers.redrive_handler import redrive_handler_of

__all__ = ["handler"]

handler = redrive_handler_of(None)
