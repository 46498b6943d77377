"""The corrections of MiniStack 1.5.33, by name. Each is a candidate for a patch upstream.

They patch private names, so the version is pinned exactly in `local/engine.txt`. `tests/integration/test_engine.py`
asks an engine with all corrections and one with none: it fails as soon as MiniStack does one of these things right by
itself, and the correction can go.
"""

from __future__ import annotations

from collections.abc import Callable

from local.engine.capacity import count_capacity, count_table_sizes
from local.engine.destinations import deliver_to_kinesis
from local.engine.expiry import expire_items
from local.engine.exports import write_exports
from local.engine.objects import answer_checksums, refuse_races
from local.engine.resharding import keep_parents
from local.engine.statements import record_statements
from local.engine.streams import (
    ignore_order_of_sets,
    list_all_streams,
    name_shards,
    number_as_aws,
    refuse_second_stream,
    tell_sizes,
)

__all__ = ["CORRECTIONS"]

CORRECTIONS: dict[str, Callable[[], None]] = {
    "sequence-numbers": number_as_aws,
    "record-sizes": tell_sizes,
    "kinesis-destinations": deliver_to_kinesis,
    "order-of-sets": ignore_order_of_sets,
    "list-streams": list_all_streams,
    "shards": name_shards,
    "second-stream": refuse_second_stream,
    "expiry": expire_items,
    "statements": record_statements,
    "capacity": count_capacity,
    "table-sizes": count_table_sizes,
    "resharding": keep_parents,
    "checksums": answer_checksums,
    "races": refuse_races,
    "exports": write_exports,
}
"""Corrections of the engine, in the order in which they are applied: a later one may wrap an earlier one."""
