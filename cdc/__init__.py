"""DynamoDB Streams to OpenSearch and S3: decoding, change detection, ordering and delivery.

Imports none of the clients: those come with the modules that use them.
"""

from cdc._version import __version__
from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError, Defer, MalformedRecord, Reject
from cdc.outcome import Applied, Deferred, Outcome, Progress, Rejected, Skipped, Superseded
from cdc.records.change import Added, Change, Changed, Operation, Removed, StreamView
from cdc.sinks import Sink

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
    "MalformedRecord",
    "Operation",
    "Outcome",
    "Progress",
    "Reject",
    "Rejected",
    "Removed",
    "Sink",
    "Skipped",
    "StreamView",
    "Superseded",
    "__version__",
]
