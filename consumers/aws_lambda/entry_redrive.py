"""The function that redrives dead letters, as Lambda loads it: `consumers.aws_lambda.entry_redrive.handler`."""

from __future__ import annotations

from consumers.aws_lambda.redrive import redrive_handler_of

__all__ = ["handler"]

handler = redrive_handler_of(None)
