"""The Kinesis Client Library in this process: leases, shards and checkpoints around the pipeline.

Internal: `cdc run` and the settings `CDC_KCL_…` are the interface to it.
"""
