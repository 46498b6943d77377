"""The OpenSearch sink: indices, bulk requests, versions, signing, tombstones and what an index remembers.

Internal: mapping files and settings configure it. `sink.OpenSearchSink` and `indices.prepare` may be used in tests.
"""
