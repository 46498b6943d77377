"""Records: decoding, exact values, order, versions and the differences between images.

`cdc` exports what users need. `decoding`, `attributes`, `change` and `sequence` are public too; the rest is internal.
"""
