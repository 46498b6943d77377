"""The function that writes a table's changes, as Lambda loads it: `consumers.aws_lambda.entry_changes.handler`."""

from __future__ import annotations

from consumers.aws_lambda.lazy_imports import import_search_client
from consumers.gc_tuning import collect_later

__all__ = ["handler"]

with collect_later():
    import_search_client()
    from consumers.aws_lambda.changes import handler_for_sink

    handler = handler_for_sink(None)
