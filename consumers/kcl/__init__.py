"""The Kinesis Client Library in this process: leases, shards and checkpoints around the pipeline."""
