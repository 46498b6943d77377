"""The transform that `shop.yml` names: what an item becomes, as a Python function."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from cdc import Change, Item


def with_total(document: Item, change: Change) -> Mapping[str, Any] | None:
    """Add the sum of the lines. None: the item has no document, and one that it had is removed."""
    if document.get("status") == "draft":
        return None
    lines = document.get("lines", [])
    total = sum((Decimal(str(line["price"])) * line["count"] for line in lines), Decimal(0))
    changed_at = change.created_at and change.created_at.isoformat()  # a record need not say its time
    return {**document, "total": total, "changed_at": changed_at}
