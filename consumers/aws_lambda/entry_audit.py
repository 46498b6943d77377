"""The function that audits, as Lambda loads it: `consumers.aws_lambda.entry_audit.handler`."""

from __future__ import annotations

from consumers.aws_lambda.lazy_imports import import_search_client

__all__ = ["handler"]

import_search_client()
from consumers.aws_lambda.audit import audit_function  # noqa: E402  (behind what makes it import less)

handler = audit_function()
