"""Prices of reading a table, in US dollars, so that a load can say what it costs before it begins.

Prices of US East (N. Virginia), on demand ("Pricing for On-Demand Capacity", Amazon DynamoDB, read in November 2026);
other regions and provisioned capacity differ.
"""

from __future__ import annotations

__all__ = ["dollars_of_export", "dollars_of_read_units", "read_units_of_scan"]

_DOLLARS_OF_A_READ_UNIT = 0.125 / 1_000_000
_DOLLARS_OF_AN_EXPORTED_GIGABYTE = 0.10
_BYTES_OF_A_READ_UNIT = 4096


def read_units_of_scan(size_bytes: int, *, consistent: bool = False) -> float:
    """Read units that reading so many bytes of a table takes; half a unit for 4 KB where it is eventually consistent
    (Amazon DynamoDB Developer Guide, "Read and write operations")."""
    units = size_bytes / _BYTES_OF_A_READ_UNIT
    return units if consistent else units / 2


def dollars_of_read_units(units: float) -> float:
    """The price of read units, on demand."""
    return units * _DOLLARS_OF_A_READ_UNIT


def dollars_of_export(size_bytes: int) -> float:
    """The price of exporting a table of so many bytes to S3."""
    return size_bytes / 1_000_000_000 * _DOLLARS_OF_AN_EXPORTED_GIGABYTE
