"""Mappings: YAML files that say which items become which documents, and their compiled form.

`files.parse_mapping` and `compiled.compile_mapping` are public, for tests of a mapping; the rest is internal.
"""
