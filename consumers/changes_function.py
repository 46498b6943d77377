"""The function that writes a table's changes, as Lambda loads it: `consumers.changes_function.handler`."""

from __future__ import annotations

from consumers.collecting import collect_later

__all__ = ["handler"]

with collect_later():
    from consumers.aws_lambda import handler_of

    handler = handler_of(None)
