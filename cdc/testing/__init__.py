"""The test kit: changes made by hand, the contract of sinks, simulated tables, streams, consumers and servers.

Public: docs/testing.md says what each name promises.
"""

from cdc.testing.changes import STREAM_ARN, change, raw_stream_record, stream_record
from cdc.testing.clock import SimulatedClock
from cdc.testing.contract import Claim, contract_changes, sink_contract
from cdc.testing.faults import Always, Faults, Killed
from cdc.testing.memory import MemorySink, ScriptedSink
from cdc.testing.proxy import Delayed, HalfAnswer, ProxyFault, Reset, TcpProxy
from cdc.testing.simulated.documents import SimulatedDocuments
from cdc.testing.simulated.event_source_mapping import SimulatedEventSourceMapping
from cdc.testing.simulated.exports import SimulatedExports
from cdc.testing.simulated.invocation import SimulatedContext
from cdc.testing.simulated.kcl import SimulatedKcl
from cdc.testing.simulated.kinesis import SimulatedKinesis
from cdc.testing.simulated.leases import Gap, SimulatedStop, SimulatedWorker
from cdc.testing.simulated.opensearch import SimulatedOpenSearch
from cdc.testing.simulated.s3 import SimulatedS3, StoredObject
from cdc.testing.simulated.stream import ShardRecord, SimulatedShard, SimulatedStream, adapter_payload
from cdc.testing.simulated.table import SimulatedTable, TableWrite
from cdc.testing.simulated.table_pages import SimulatedPages

__all__ = [
    "STREAM_ARN",
    "Always",
    "Claim",
    "Delayed",
    "Faults",
    "Gap",
    "HalfAnswer",
    "Killed",
    "MemorySink",
    "ProxyFault",
    "Reset",
    "ScriptedSink",
    "ShardRecord",
    "SimulatedClock",
    "SimulatedContext",
    "SimulatedDocuments",
    "SimulatedEventSourceMapping",
    "SimulatedExports",
    "SimulatedKcl",
    "SimulatedKinesis",
    "SimulatedOpenSearch",
    "SimulatedPages",
    "SimulatedS3",
    "SimulatedShard",
    "SimulatedStop",
    "SimulatedStream",
    "SimulatedTable",
    "SimulatedWorker",
    "StoredObject",
    "TableWrite",
    "TcpProxy",
    "adapter_payload",
    "change",
    "contract_changes",
    "raw_stream_record",
    "sink_contract",
    "stream_record",
]
