"""Shapes: the items that cases are measured with, as records of DynamoDB Streams; the same at every run."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from cdc.records.attributes import encode_item
from cdc.records.stream import Stream

__all__ = ["SHAPES", "STREAM", "Shape", "flat", "large", "order", "types", "wide"]

Item = dict[str, Any]

STREAM = Stream.dynamodb("arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123")

_FIRST_SEQUENCE = 62 * 10**20
_WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper")


@dataclass(frozen=True, slots=True)
class Shape:
    """Items of one kind: `make` gives the one before and the one after a change, for a number that tells them apart."""

    name: str
    title: str
    make: Callable[[int], tuple[Item, Item]]

    def record(self, number: int) -> dict[str, Any]:
        """A MODIFY as a Lambda event holds it."""
        before, after = map(encode_item, self.make(number))
        return {
            "eventID": f"{number:032x}",
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1768469400.0 + number,
                "Keys": {"pk": after["pk"], "sk": after["sk"]},
                "OldImage": before,
                "NewImage": after,
                "SequenceNumber": str(_FIRST_SEQUENCE + number * (10**20 + 977)),
                "SizeBytes": 2700,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": STREAM.arn,
        }

    def adapter_record(self, number: int) -> dict[str, Any]:
        """The same change as the KCL's adapter writes it."""
        record = self.record(number)
        del record["eventSourceARN"]
        facts: Mapping[str, Any] = record["dynamodb"]
        created = int(facts["ApproximateCreationDateTime"] * 1000)
        return {**record, "dynamodb": {**facts, "ApproximateCreationDateTime": created}}


def _keys(number: int) -> Item:
    return {"pk": f"CUSTOMER#{number % 1000:04d}", "sk": f"ORDER#2026-{number:07d}"}


def flat(number: int) -> tuple[Item, Item]:
    """A few scalars, 200 bytes as DynamoDB JSON; one changed."""
    before = {
        **_keys(number),
        "status": "open",
        "total": 4250 + number,
        "paid": False,
        "note": "leave it at the door, ring twice",
    }
    return before, {**before, "status": "shipped"}


def order(number: int) -> tuple[Item, Item]:
    """An order with lines and prices in nested lists, the record 2.7 KB with both images; three values changed."""
    random = Random(number)  # noqa: S311  (the same items at every run)
    lines: list[Item] = [
        {
            "sku": f"SKU-{random.randrange(10**6):06d}",
            "quantity": random.randrange(1, 9),
            "prices": [random.randrange(100, 9999), random.randrange(100, 9999)],
            "gift": random.random() < 0.3,
        }
        for _ in range(7)
    ]
    before = {
        **_keys(number),
        "status": "packed",
        "total": sum(line["prices"][0] for line in lines),
        "customer": {"name": random.choice(_WORDS), "tier": 2, "address": {"city": "Zürich", "zip": "8001"}},
        "lines": lines,
        "updated_at": "2026-01-15T09:29:00Z",
        "comment": "",
    }
    changed = [{**lines[0], "quantity": lines[0]["quantity"] + 1}, *lines[1:]]
    return before, {**before, "status": "shipped", "lines": changed, "updated_at": "2026-01-15T09:30:00Z"}


def large(number: int) -> tuple[Item, Item]:
    """An item of 40 KB: many events with texts in a list; one appended."""
    random = Random(number)  # noqa: S311
    events = [
        {"at": 1768469400 + at, "by": random.choice(_WORDS), "text": " ".join(random.choices(_WORDS, k=20))}
        for at in range(205)
    ]
    before = {**_keys(number), "state": "open", "events": events[:-1]}
    return before, {**before, "events": events}


def types(number: int) -> tuple[Item, Item]:
    """Every type that DynamoDB has, numbers up to its limits; one of each kind changed."""
    from decimal import Decimal

    before = {
        **_keys(number),
        "text": "Straße 12 «δ»",
        "whole": 42,
        "digits": int("12345678901234567890123456789012345678"),
        "fraction": Decimal("0.1"),
        "small": Decimal("-1E-130"),
        "great": Decimal("9.9E+125"),
        "binary": bytes(range(48)),
        "yes": True,
        "no": False,
        "nothing": None,
        "list": ["a", 1, None, [True, {"deep": Decimal("2.50")}]],
        "map": {"S": "an attribute named S", "inner": {"n": 7, "t": "x"}},
        "texts": frozenset(_WORDS[:5]),
        "numbers": frozenset((10, 9, Decimal("1.5"), -3)),
        "binaries": frozenset((b"\x00\x01", b"\xff\xfe")),
    }
    after = {
        **before,
        "whole": 43,
        "fraction": Decimal("0.2"),
        "yes": False,
        "list": ["a", 2, None, [True, {"deep": Decimal("2.51")}]],
        "map": {"S": "an attribute named S", "inner": {"n": 8, "t": "x"}},
        "texts": frozenset(_WORDS[:6]),
        "numbers": frozenset((10, 9, Decimal("1.5"))),
        "binary": bytes(range(1, 49)),
    }
    return before, after


def wide(number: int) -> tuple[Item, Item]:
    """300 attributes, one of them changed."""
    before = {**_keys(number), **{f"attribute{at:03d}": at if at % 3 else f"value {at}" for at in range(298)}}
    return before, {**before, "attribute150": "changed"}


def sized(size_bytes: int) -> Callable[[int], tuple[Item, Item]]:
    """Items of about this size as DynamoDB JSON, in pieces of a hundred bytes; one changed."""

    def make(number: int) -> tuple[Item, Item]:
        pieces = {f"piece{at:05d}": b64encode(Random(at).randbytes(55)).decode() for at in range(size_bytes // 100)}  # noqa: S311
        before = {**_keys(number), **pieces, "state": "before"}
        return before, {**before, "state": "after"}

    return make


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("flat", "flat item of 200 B", flat),
        Shape("order", "order with nested lists, record of 2.7 KB", order),
        Shape("large", "item of 40 KB", large),
        Shape("types", "all types", types),
        Shape("wide", "300 attributes, one changed", wide),
    )
}
