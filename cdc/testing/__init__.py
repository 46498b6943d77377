"""What users test with too: changes made by hand, and a sink in memory."""

from cdc.testing.changes import STREAM_ARN, change, stream_record
from cdc.testing.memory import MemorySink, ScriptedSink

__all__ = ["STREAM_ARN", "MemorySink", "ScriptedSink", "change", "stream_record"]
