"""The function that writes a table's changes, as Lambda loads it: `consumers.changes_function.handler`."""

from __future__ import annotations

import gc

__all__ = ["handler"]

gc.disable()  # what imports make stays: to look for garbage in it, again and again, is a tenth of a cold start
try:
    from consumers.aws_lambda import handler_of

    handler = handler_of(None)
    gc.freeze()
finally:
    gc.enable()
