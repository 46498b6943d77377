"""AWS Lambda: the functions' handlers, what they tell, and Lambda's own failure records.

Public: the names below, and `entry_changes.handler`, `entry_redrive.handler` and `entry_audit.handler`, which a
deployment names. Nothing is imported before it is asked for, since every cold start passes here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.aws_lambda.changes import handler, handler_for, handler_for_sink
    from consumers.aws_lambda.redrive import redrive_handler, redrive_handler_for, redrive_handler_for_sink

__all__ = [
    "handler",
    "handler_for",
    "handler_for_sink",
    "redrive_handler",
    "redrive_handler_for",
    "redrive_handler_for_sink",
]


if not TYPE_CHECKING:  # a type checker would take every name for one of this module's

    def __getattr__(name: str) -> Any:
        """Import a name when it is asked for."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "redrive" if name.startswith("redrive") else "changes"
        return getattr(import_module(f"{__name__}.{module}"), name)
