"""Sample findings: each class, hostile contents, long values and exact digits."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from cdc.verification.findings import Difference, DifferenceClass, Findings, Price

__all__ = ["HOSTILE", "IN_STEP", "SAMPLE"]

HOSTILE = '"><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\x1b[31m\u202e'

_ORDER: dict[str, Any] = {
    "customer": "C#1042",
    "status": "shipped",
    "total": 1299,
    "lines": [{"sku": "A-17", "amount": 2, "price": 650}, {"sku": "B-03", "amount": 1, "price": -1}],
    "address": {"street": "Torstraße 114", "city": "Berlin", "zip": "10119"},
    "placed": "2026-11-02T09:14:33Z",
    "paid": True,
}


def _key(number: int) -> dict[str, dict[str, str]]:
    return {"pk": {"S": "C#1042"}, "sk": {"S": f"ORDER#{number}"}}


def _order(**more: Any) -> str:
    return json.dumps({**_ORDER, **more}, ensure_ascii=False)


_NOTE = "The parcel was left with the neighbour on the second floor, who signs for everybody in the house. " * 40

_EXAMPLES = (
    Difference(DifferenceClass.MISSING, "orders", "C#1042|ORDER#1", _key(1), None, _order(), None, "no document"),
    Difference(
        DifferenceClass.GHOST,
        "orders",
        "C#1042|ORDER#2",
        _key(2),
        1_794_300_000_000_000_017,
        None,
        _order(status="open"),
        "there is no such item",
    ),
    Difference(
        DifferenceClass.STALE,
        "orders",
        "C#1042|ORDER#3",
        _key(3),
        1_794_300_000_000_000_018,
        _order(note=_NOTE + "Ring twice." + _NOTE, weight="w").replace('"w"', "12345678901234567890123456789012345678"),
        _order(note=_NOTE + "Ring once." + _NOTE, weight="w", status="packed").replace(
            '"w"', "12345678901234567890123456789012345000"
        ),
        "differs in note, weight, status",
    ),
    Difference(
        DifferenceClass.STALE,
        "orders",
        HOSTILE,
        {"pk": {"S": HOSTILE}},
        7,
        json.dumps({"name": HOSTILE, HOSTILE: 1}),
        json.dumps({"name": "<b>plain</b>", "same": "</code></td>"}),
        f"differs in {HOSTILE}",
    ),
    Difference(
        DifferenceClass.FOREIGN,
        "orders",
        "C#1042|ORDER#4",
        _key(4),
        9_000_000_000_000_000_000,
        _order(),
        _order(total=1399, imported=True),
        "its version is above all that the table's stream will write: another program wrote it",
    ),
    Difference(
        DifferenceClass.SHAPE,
        "orders",
        "C#1042|ORDER#5",
        _key(5),
        1_794_300_000_000_000_020,
        _order(),
        json.dumps({**_ORDER, "zip": "10119"}, ensure_ascii=False),
        "the values are right, and an older mapping made it; has besides zip",
    ),
    Difference(
        DifferenceClass.KEPT,
        "orders",
        "C#1042|ORDER#6",
        _key(6),
        None,
        _order(placed="yesterday"),
        None,
        "a dead letter explains it",
        "dead-letters/shop/2026/11/02/09/opensearch-0194ab77c0.json",
    ),
)

SAMPLE = Findings(
    table="shop",
    indices=("orders", "order-lines"),
    with_content=True,
    began_at=datetime(2026, 11, 2, 9, 15, 0, tzinfo=UTC),
    ended_at=datetime(2026, 11, 2, 9, 21, 43, tzinfo=UTC),
    items=12_431_030,
    documents=12_431_027,
    equal=12_431_007,
    counts={"missing": 9, "ghost": 4, "stale": 17, "foreign": 2, "shape": 31, "kept": 3},
    set_aside=5,
    unsettled=1,
    examples=_EXAMPLES,
    price=Price(1_553_878.5, 0.19423),
)
"""Every class of differences."""

IN_STEP = msgspec.structs.replace(SAMPLE, counts={}, set_aside=0, unsettled=0, examples=())
"""No difference."""
