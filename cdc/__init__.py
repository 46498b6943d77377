"""Reads the changes of DynamoDB tables, keeps values exact, and writes each change to sinks at least once, in order.

This module is the public API (docs/api.md). It imports no client of AWS or OpenSearch: `changes_from_lambda`,
`read_archive`, `backfill` and `verify` are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cdc._version import __version__
from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.errors import (
    CdcError,
    ConfigError,
    Defer,
    ImageMissing,
    MalformedRecord,
    MappingError,
    Reject,
    SinkError,
    SinkMisconfigured,
    SinkUnavailable,
)
from cdc.outcome import Applied, Deferred, Outcome, Progress, Rejected, Skipped, Superseded
from cdc.records.attributes import Item
from cdc.records.change import Added, Change, Changed, Difference, Operation, Path, Removed, StreamView
from cdc.sinks import Sink

if TYPE_CHECKING:
    from cdc.archive import read_archive
    from cdc.loads.backfill import backfill
    from cdc.records.decoding import changes_from_lambda
    from cdc.verification.verify import verify

__all__ = [
    "Added",
    "Applied",
    "Cause",
    "CauseKind",
    "CdcError",
    "Change",
    "Changed",
    "ConfigError",
    "Deadline",
    "Defer",
    "Deferred",
    "Difference",
    "ImageMissing",
    "Item",
    "MalformedRecord",
    "MappingError",
    "Operation",
    "Outcome",
    "Path",
    "Progress",
    "Reject",
    "Rejected",
    "Removed",
    "Sink",
    "SinkError",
    "SinkMisconfigured",
    "SinkUnavailable",
    "Skipped",
    "StreamView",
    "Superseded",
    "__version__",
    "backfill",
    "changes_from_lambda",
    "read_archive",
    "verify",
]

_LAZY = {
    "backfill": "cdc.loads.backfill",
    "changes_from_lambda": "cdc.records.decoding",
    "read_archive": "cdc.archive",
    "verify": "cdc.verification.verify",
}

if not TYPE_CHECKING:  # a type checker would take every name for one of this module's

    def __getattr__(name: str) -> Any:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value
