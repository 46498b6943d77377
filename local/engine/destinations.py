"""Kinesis Data Streams for DynamoDB: records in the shape of that service, to whatever server has the stream."""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
import time
from typing import Any

from ministack.services import dynamodb

from local.engine.outbound import client_of

__all__ = ["deliver_to_kinesis"]

log = logging.getLogger(__name__)

_DIVISORS = {"MILLISECOND": 1_000_000, "MICROSECOND": 1_000}
_AT_ONCE = 500  # Amazon Kinesis Data Streams API reference, PutRecords
_Delivery = tuple[str, str, str, bytes]
"""Region, stream's ARN, partition key, data."""


def deliver_to_kinesis() -> None:
    """Deliver `recordFormat`, `tableName`, the creation time in the destination's precision and no sequence number, in
    order, to the stream at `ENGINE_KINESIS_URL` (default: this engine's own).

    MiniStack delivers the shape of DynamoDB Streams, in seconds, to its own streams only.
    """
    waiting: queue.SimpleQueue[_Delivery] = queue.SimpleQueue()

    def fan_out(table: str, record: Any) -> None:
        now = time.time_ns()
        keys = json.dumps(record["dynamodb"]["Keys"], sort_keys=True).encode()
        partition = hashlib.sha256(keys).hexdigest()[:32]
        for destination in dynamodb._kinesis_destinations.get(table, []):
            if destination["DestinationStatus"] == "ACTIVE":
                precision = destination.get("ApproximateCreationDateTimePrecision", "MILLISECOND")
                data = json.dumps(_shaped(table, record, now // _DIVISORS[precision], precision)).encode()
                waiting.put((record["awsRegion"], destination["StreamArn"], partition, data))

    dynamodb._fan_out_to_kinesis = fan_out
    threading.Thread(target=_deliver, args=(waiting,), daemon=True, name="kinesis-destinations").start()


def _shaped(table: str, record: Any, created: int, precision: str) -> dict[str, Any]:
    facts = record["dynamodb"]
    images = {name: facts[name] for name in ("Keys", "NewImage", "OldImage", "SizeBytes") if name in facts}
    return {
        "awsRegion": record["awsRegion"],
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "userIdentity": record.get("userIdentity"),
        "recordFormat": "application/json",
        "tableName": table,
        "dynamodb": {
            "ApproximateCreationDateTime": created,
            "ApproximateCreationDateTimePrecision": precision,
            **images,
        },
        "eventSource": "aws:dynamodb",
    }


def _deliver(waiting: queue.SimpleQueue[_Delivery]) -> None:
    while True:
        batch = [waiting.get()]
        # only this thread takes any: what is there stays there
        while len(batch) < _AT_ONCE and not waiting.empty():
            batch.append(waiting.get())
        for stream in dict.fromkeys(one[:2] for one in batch):
            _put(*stream, [{"PartitionKey": key, "Data": data} for *to, key, data in batch if (*to,) == stream])


def _put(region: str, arn: str, records: list[dict[str, Any]]) -> None:
    """Until all are taken: what is refused is put again, before anything else."""
    kinesis = client_of("kinesis", region)
    while records:
        try:
            results = kinesis.put_records(StreamARN=arn, Records=records)["Records"]
        except (kinesis.exceptions.ResourceNotFoundException, OSError) as error:
            log.warning("%d records for %s are dropped: %s", len(records), arn, error)
            return
        records = [record for record, result in zip(records, results, strict=True) if result.get("ErrorCode")]
