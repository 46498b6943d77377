"""Loads: how an index is made whole from a table that is in use, and from the archive.

Public: `backfill` (docs/existing-tables.md). A load writes below every change that it may not have seen.
"""
