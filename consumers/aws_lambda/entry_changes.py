"""The function that writes a table's changes, as Lambda loads it: `consumers.aws_lambda.entry_changes.handler`."""

from __future__ import annotations

from consumers.gc_tuning import collect_later

__all__ = ["handler"]

with collect_later():
    from consumers.aws_lambda.changes import handler_of

    handler = handler_of(None)
