"""Simulated tables, streams, servers and consumers, on one clock and one seed.

Import them from `cdc.testing`, which is public; the modules here are internal.
"""
