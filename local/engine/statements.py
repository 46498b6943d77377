"""PartiQL: what statements write is in the stream."""

from __future__ import annotations

from typing import Any

from ministack.services import dynamodb

__all__ = ["record_statements"]


def record_statements() -> None:
    """Write stream records of what INSERT, UPDATE and DELETE statements change, alone, in batches, in transactions."""
    written: list[tuple[str, Any, Any]] | None = None
    set_item, remove_item = dynamodb._set_item, dynamodb._remove_item

    def noting_set(table: Any, partition: Any, sort: Any, item: Any) -> Any:
        old = set_item(table, partition, sort, item)
        if written is not None:
            written.append((table["TableName"], old, item))
        return old

    def noting_remove(table: Any, partition: Any, sort: Any) -> Any:
        old = remove_item(table, partition, sort)
        if written is not None and old is not None:
            written.append((table["TableName"], old, None))
        return old

    def recorded(operation: Any) -> Any:
        def run(asked: Any) -> Any:
            nonlocal written
            changes: list[tuple[str, Any, Any]] = []
            written = changes
            try:
                answer = operation(asked)
            finally:
                written = None
            if answer[0] == 200:  # a transaction that is refused has undone them
                for table, old, new in changes:
                    event = "REMOVE" if new is None else "MODIFY" if old else "INSERT"
                    dynamodb._emit_stream_event(table, event, old, new)
            return answer

        return run

    dynamodb._set_item, dynamodb._remove_item = noting_set, noting_remove
    for name in ("_execute_statement", "_batch_execute_statement", "_execute_transaction"):
        setattr(dynamodb, name, recorded(getattr(dynamodb, name)))
