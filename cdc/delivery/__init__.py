"""Delivery: settles a batch. Retries, breaker, age limit, dead-lettering, fan-out and the shard loop.

`pipeline.Pipeline` is public, for tests; the rest is internal, and the consumers join it.
"""
