"""Sources of the KCL consumer: tables, one stream, or a Kinesis data stream; how each is found and read.

Internal: the options of `cdc run` choose a source.
"""
