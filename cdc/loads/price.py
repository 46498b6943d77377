"""Prices of reading a table, in US dollars, so that a load can say what it costs before it begins.

Prices of US East (N. Virginia), on demand ("Pricing for On-Demand Capacity", Amazon DynamoDB, read in November 2026);
other regions and provisioned capacity differ.
"""

from __future__ import annotations

import msgspec

__all__ = [
    "RunnerPrice",
    "dollars_of_export",
    "dollars_of_read_units",
    "price_of_step_functions",
    "read_units_of_scan",
]

_DOLLARS_OF_A_READ_UNIT = 0.125 / 1_000_000
_DOLLARS_OF_AN_EXPORTED_GIGABYTE = 0.10
_BYTES_OF_A_READ_UNIT = 4096
_DOLLARS_OF_A_TRANSITION = 0.025 / 1000
"""Standard workflows ("AWS Step Functions Pricing", read in November 2026)."""
_TRANSITIONS_OF_A_UNIT = 3
"""Each unit has an execution of its own: its start, its task, its end."""
_TRANSITIONS_OF_A_LOAD = 8
_DOLLARS_OF_A_GIGABYTE_SECOND = 0.0000133334
_DOLLARS_OF_AN_INVOCATION = 0.20 / 1_000_000
"""Arm64 ("AWS Lambda Pricing", read in November 2026)."""
_FUNCTION_GIGABYTES = 1.769
_FUNCTION_ITEMS_A_SECOND = 1_500
"""About so many items of 1 KB loads a function of one processor; OpenSearch may take fewer."""
_FUNCTION_START_SECONDS = 2.0


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


class RunnerPrice(msgspec.Struct, frozen=True):
    """The price of running a load's units on AWS Step Functions, beside that of reading."""

    transitions: int
    gigabyte_seconds: float
    dollars: float


def price_of_step_functions(units: int, items: int) -> RunnerPrice:
    """The price of a load of so many units and items, each unit done by one invocation of a function of 1,769 MB."""
    transitions = _TRANSITIONS_OF_A_LOAD + units * _TRANSITIONS_OF_A_UNIT
    seconds = units * _FUNCTION_START_SECONDS + items / _FUNCTION_ITEMS_A_SECOND
    gigabyte_seconds = seconds * _FUNCTION_GIGABYTES
    dollars = (
        transitions * _DOLLARS_OF_A_TRANSITION
        + gigabyte_seconds * _DOLLARS_OF_A_GIGABYTE_SECOND
        + units * _DOLLARS_OF_AN_INVOCATION
    )
    return RunnerPrice(transitions, round(gigabyte_seconds, 1), dollars)
