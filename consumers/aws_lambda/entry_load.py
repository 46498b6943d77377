"""The function that loads, as Lambda loads it: `consumers.aws_lambda.entry_load.handler`."""

from __future__ import annotations

from consumers.aws_lambda.lazy_imports import import_search_client

__all__ = ["handler"]

import_search_client()
from consumers.aws_lambda.load import load_function  # noqa: E402  (behind what makes it import less)

handler = load_function()
