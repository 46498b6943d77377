"""The orders that streams and batches are full of: the same at every run."""

from __future__ import annotations

from typing import Any

import orjson

__all__ = ["item", "record"]

_CREATED = 1_767_225_700


def record(number: int) -> dict[str, Any]:
    """The first put of an order, as GetRecords of DynamoDB Streams gives it."""
    image = item(number)
    keys = {"pk": image["pk"]}
    return {
        "eventID": f"{number:032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": _CREATED,
            "Keys": keys,
            "NewImage": image,
            "SequenceNumber": f"{number + 1}{number + 1:020d}",
            "SizeBytes": len(orjson.dumps([keys, image])),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def item(number: int) -> dict[str, Any]:
    """An order of about 1 KB."""
    return {
        "pk": {"S": f"order#{number:08d}"},
        "customer": {"S": f"Customer {number}"},
        "status": {"S": "paid"},
        "total": {"N": f"{number * 1.25:.2f}"},
        "count": {"N": str(number)},
        "express": {"BOOL": number % 2 == 0},
        "coupon": {"NULL": True},
        "tags": {"SS": ["fragile", "gift"]},
        "address": {"M": {"city": {"S": "Berlin"}, "zip": {"S": "10115"}, "street": {"S": "Invalidenstraße 1"}}},
        "lines": {"L": [{"M": {"sku": {"S": f"sku-{line}"}, "quantity": {"N": str(line)}}} for line in range(3)]},
        "note": {"S": f"{number:08d} " * 60},
    }
