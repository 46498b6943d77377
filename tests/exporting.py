"""Exports written by hand, as DynamoDB writes them, for the tests of their reading."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from hashlib import md5
from typing import Any

from amazon.ion import simpleion
from amazon.ion.core import IonType
from amazon.ion.simple_types import IonPyList

from cdc.records.attributes import Item, encode_item

__all__ = [
    "BUCKET",
    "FOLDER",
    "LOCATION",
    "TABLE_ARN",
    "TABLE_ID",
    "ion_line",
    "json_line",
    "put_manifest",
    "sum_of",
    "write_export",
]

BUCKET = "exports"
ROOT = "2026/AWSDynamoDB"
FOLDER = f"{ROOT}/01768469400000-a1b2c3d4"
LOCATION = f"s3://{BUCKET}/{FOLDER}"
TABLE_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop"
TABLE_ID = "12345a12-abcd-123a-ab12-1234abc12345"


def sum_of(body: bytes) -> str:
    """The sum as the manifests write it."""
    return b64encode(md5(body, usedforsecurity=False).digest()).decode()


def json_line(item: Item) -> bytes:
    """An item as a line of DynamoDB JSON."""
    return json.dumps({"Item": encode_item(item)}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def ion_line(item: Item) -> bytes:
    """An item as a line of Ion text, by Ion's own writer."""
    text = simpleion.dumps({"Item": _ion(item)}, binary=False)
    assert isinstance(text, str)
    return text.encode() + b"\n"


def _ion(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return Decimal(value)
        case dict():
            return {name: _ion(member) for name, member in value.items()}
        case list():
            return [_ion(member) for member in value]
        case frozenset():
            members = [_ion(member) for member in value]
            tag = {str: "SS", Decimal: "NS", bytes: "BS"}[type(members[0])]
            return IonPyList.from_value(IonType.LIST, members, annotations=(f"$dynamodb_{tag}",))
    return value


def write_export(s3: Any, files: Iterable[Sequence[bytes]], sums: str = ".md5", **facts: Any) -> None:
    """Write a data file of each of `files` (lines), then the manifests; `facts` stand in the summary instead."""
    s3.put_object(Bucket=BUCKET, Key=f"{FOLDER}/_started", Body=b"")
    entries: list[Mapping[str, Any]] = []
    for number, lines in enumerate(files):
        key, body = f"{FOLDER}/data/file{number}.gz", gzip.compress(b"".join(lines), mtime=0)
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        entries.append(
            {"itemCount": len(lines), "md5Checksum": sum_of(body), "etag": f"etag{number}-1", "dataFileS3Key": key}
        )
    summary = {
        "version": "2020-06-30",
        "exportArn": f"{TABLE_ARN}/export/01768469400000-a1b2c3d4",
        "startTime": "2026-01-15T09:30:05.000Z",
        "endTime": "2026-01-15T09:35:00.000Z",
        "tableArn": TABLE_ARN,
        "tableId": TABLE_ID,
        "exportTime": "2026-01-15T09:30:00.125Z",
        "s3Bucket": BUCKET,
        "s3Prefix": "2026",
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{FOLDER}/manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": sum(entry["itemCount"] for entry in entries),
        "outputFormat": "DYNAMODB_JSON",
        **facts,
    }
    put_manifest(s3, "manifest-files", b"".join(json.dumps(entry).encode() + b"\n" for entry in entries), sums)
    put_manifest(s3, "manifest-summary", json.dumps(summary).encode(), sums)


def put_manifest(s3: Any, name: str, body: bytes, sums: str = ".md5") -> None:
    """Write a manifest and its sum."""
    s3.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{name}.json", Body=body)
    s3.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{name}{sums}", Body=sum_of(body).encode())
