"""Verification: does an index equal its table? Differences are seen twice before they are called so, and mended.

Public: `verify` (docs/existing-tables.md). Nothing here mints a version.
"""
