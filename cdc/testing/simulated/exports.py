"""Exports of a simulated table to the simulated S3, as ExportTableToPointInTime writes them."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.simulated.s3 import SimulatedS3
from cdc.testing.simulated.table import SimulatedTable

__all__ = ["SimulatedExports"]


@dataclass(frozen=True)
class SimulatedExports:
    """Writes full exports in DynamoDB JSON (Amazon DynamoDB Developer Guide, "DynamoDB table export output format"):
    data files, manifests and their checksums, in `bucket` below `AWSDynamoDB/`. S3's own faults are passed by."""

    table: SimulatedTable
    s3: SimulatedS3
    clock: SimulatedClock
    chance: random.Random
    bucket: str = "exports"
    lines_of_a_file: int = 3

    def export(self, micros: int | None = None) -> str:
        """Export the table as it stood at a time, in microseconds since 1970; now, if none is given.

        Returns:
            The location of the export: `s3://bucket/AWSDynamoDB/<export id>`.

        Raises:
            ValueError: the present table was made later.
        """
        at = self.clock.micros if micros is None else micros
        return self._written(at, [{"Item": item} for item in self.table.items_at(at).values()])

    def _written(self, micros: int, lines: list[dict[str, Any]]) -> str:
        faults, self.s3.faults = self.s3.faults, None
        try:
            return self._put_all(micros, [_line(line) for line in lines])
        finally:
            self.s3.faults = faults

    def _put_all(self, micros: int, lines: list[bytes]) -> str:
        name = f"{self.clock.micros // 1000:014d}-{self.chance.getrandbits(32):08x}"
        root = f"AWSDynamoDB/{name}"
        self._put(f"{root}/_started", b"")
        files = []
        for start in range(0, max(len(lines), 1), self.lines_of_a_file):
            part = lines[start : start + self.lines_of_a_file]
            key = f"{root}/data/{self.chance.getrandbits(104):026x}.json.gz"
            stored = self._put(key, gzip.compress(b"".join(part), mtime=0))
            files.append(_line({"itemCount": len(part), **stored, "dataFileS3Key": key}))
        summary = {
            "version": "2020-06-30",
            "exportArn": f"{self.table.arn}/export/{name}",
            "startTime": _text(self.clock.micros),
            "endTime": _text(self.clock.micros),
            "tableArn": self.table.arn,
            "tableId": self.table.id,
            "exportTime": _text(micros),
            "s3Bucket": self.bucket,
            "s3Prefix": None,
            "s3SseAlgorithm": "AES256",
            "s3SseKmsKeyId": None,
            "manifestFilesS3Key": f"{root}/manifest-files.json",
            "billedSizeBytes": sum(map(len, lines)),
            "itemCount": len(lines),
            "outputFormat": "DYNAMODB_JSON",
        }
        for kind, body in (("manifest-files", b"".join(files)), ("manifest-summary", json.dumps(summary).encode())):
            self._put(f"{root}/{kind}.json", body)
            self._put(f"{root}/{kind}.checksum", _md5(body).encode())
        return f"s3://{self.bucket}/{root}"

    def _put(self, key: str, body: bytes) -> dict[str, str]:
        etag = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)["ETag"].strip('"')
        return {"md5Checksum": _md5(body), "etag": etag}


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _md5(body: bytes) -> str:
    return b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _text(micros: int) -> str:
    """A time as exports tell it: cut to milliseconds."""
    moment = datetime.fromtimestamp(micros // 1000 / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
