"""Records: decoding, exact values, order, versions and the differences between images.

`cdc` exports what users need. `attributes`, `stream`, `sequence` and `identity` are public too; the rest is internal.
"""
