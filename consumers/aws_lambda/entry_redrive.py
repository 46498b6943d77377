"""The function that redrives dead letters, as Lambda loads it: `consumers.aws_lambda.entry_redrive.handler`."""

from __future__ import annotations

from consumers.aws_lambda.lazy_imports import import_search_client

__all__ = ["handler"]

import_search_client()
from consumers.aws_lambda.redrive import redrive_handler_for_sink  # noqa: E402  (behind what makes it import less)

handler = redrive_handler_for_sink(None)
