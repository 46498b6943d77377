"""Consumed read capacity and table sizes, by the bytes of the items."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ministack.core.responses import json_response
from ministack.services import dynamodb

__all__ = ["count_capacity", "count_table_sizes"]

_READ_UNIT_BYTES = 4096  # Amazon DynamoDB Developer Guide, "DynamoDB read and write operations"


def count_capacity() -> None:
    """Count reads by what was read: MiniStack tells half a unit, or one, whatever a Scan, Query or GetItem reads, and
    nothing of a BatchGetItem. Writes are counted by MiniStack itself, but those of statements, which are left as they
    are."""
    evaluated: Sequence[Any] | None = None
    page, get, batch, add = (
        dynamodb._paginate_evaluated_items,
        dynamodb._get_item,
        dynamodb._batch_get_item,
        dynamodb._add_consumed_capacity,
    )

    def noting_page(items: Any, limit: Any, table: Any, index_name: Any = None) -> Any:
        nonlocal evaluated
        found, more = page(items, limit, table, index_name)
        evaluated = [dynamodb._apply_index_projection(one, table, index_name) if index_name else one for one in found]
        return found, more

    def noting_get(asked: Any) -> Any:
        nonlocal evaluated
        evaluated = None
        table = dynamodb._tables.get(dynamodb._normalize_table_name(asked.get("TableName")))
        if table is not None:
            evaluated = [_item_of(table, asked.get("Key") or {})]
        return get(asked)

    def add_consumed_capacity(result: Any, asked: Any, *arguments: Any, **named: Any) -> None:
        nonlocal evaluated
        add(result, asked, *arguments, **named)
        items, evaluated = evaluated, None
        told = result.get("ConsumedCapacity")
        if told is None or items is None or named.get("write"):
            return
        units = _read_units(items, consistent=asked.get("ConsistentRead", False))
        told["CapacityUnits"] = units
        parts = [part for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes") for part in told.get(kind, {})]
        if "Table" in told and not parts:
            told["Table"]["CapacityUnits"] = units
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            for part in told.get(kind, {}).values():
                part["CapacityUnits"] = units

    def counted_batch(asked: Any) -> Any:
        answer = batch(asked)
        if answer[0] != 200 or asked.get("ReturnConsumedCapacity", "NONE") == "NONE":
            return answer
        told = []
        for name, wanted in asked["RequestItems"].items():
            table = dynamodb._tables[dynamodb._normalize_table_name(name)]
            consistent = wanted.get("ConsistentRead", False)
            units = sum(_read_units([_item_of(table, key)], consistent=consistent) for key in wanted["Keys"])
            told.append({"TableName": name, "CapacityUnits": units})
        return json_response({**json.loads(answer[2]), "ConsumedCapacity": told})

    dynamodb._paginate_evaluated_items, dynamodb._get_item = noting_page, noting_get
    dynamodb._batch_get_item, dynamodb._add_consumed_capacity = counted_batch, add_consumed_capacity


def _item_of(table: Any, key: Any) -> Any:
    partition, sort, refused = dynamodb._resolve_table_key_values(table, key, allow_extra=False)
    return {} if refused else table["items"].get(partition, {}).get(sort) or {}


def _read_units(items: Sequence[Any], *, consistent: bool) -> float:
    """One unit for each started 4 KB of all that was read, at least one; half of it without consistency."""
    size = sum(dynamodb._item_size_bytes(one) for one in items)
    units = max(1, -(-size // _READ_UNIT_BYTES))
    return float(units) if consistent else units / 2


def count_table_sizes() -> None:
    """Tell a table's size by its items: MiniStack tells 200 bytes for each."""
    set_item, remove_item, recount = dynamodb._set_item, dynamodb._remove_item, dynamodb._update_counts
    size = dynamodb._item_size_bytes
    sizes = "_local_engine_bytes"

    def sized_set(table: Any, partition: Any, sort: Any, item: Any) -> Any:
        old = set_item(table, partition, sort, item)
        table[sizes] = table.get(sizes, 0) + size(item) - (size(old) if old else 0)
        table["TableSizeBytes"] = table[sizes]
        return old

    def sized_remove(table: Any, partition: Any, sort: Any) -> Any:
        old = remove_item(table, partition, sort)
        table[sizes] = table.get(sizes, 0) - (size(old) if old else 0)
        table["TableSizeBytes"] = table[sizes]
        return old

    def sized_recount(table: Any) -> None:
        recount(table)
        table[sizes] = sum(size(item) for held in table["items"].values() for item in held.values())
        table["TableSizeBytes"] = table[sizes]

    dynamodb._set_item, dynamodb._remove_item, dynamodb._update_counts = sized_set, sized_remove, sized_recount
