"""Changes and records made by hand, from plain Python values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc.records.attributes import RawItem, encode_item
from cdc.records.change import Change, Operation, StreamView
from cdc.records.decoding import change_from_stream_record
from cdc.records.stream import Stream

__all__ = ["STREAM_ARN", "change", "raw_stream_record", "stream_record"]

STREAM_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123"


def stream_record(
    keys: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    sequence: int = 1,
    stream_arn: str = STREAM_ARN,
    created: float = 1768469400.0,
    expired: bool = False,
    view: StreamView = StreamView.NEW_AND_OLD_IMAGES,
) -> dict[str, Any]:
    """A record as Lambda delivers it. The images are the keys and the attributes given; none of both: a REMOVE.

    The operation follows from the images that were there, whatever of them `view` lets through.
    """
    return raw_stream_record(
        encode_item(keys),
        None if before is None else encode_item({**keys, **before}),
        None if after is None else encode_item({**keys, **after}),
        sequence=str(sequence),
        event_id=f"event-{sequence}",
        stream_arn=stream_arn,
        created=created,
        expired=expired,
        view=view,
    )


def raw_stream_record(
    keys: RawItem,
    before: RawItem | None,
    after: RawItem | None,
    *,
    sequence: str,
    event_id: str,
    stream_arn: str = STREAM_ARN,
    created: float = 1768469400.0,
    expired: bool = False,
    view: StreamView = StreamView.NEW_AND_OLD_IMAGES,
) -> dict[str, Any]:
    """`stream_record` of keys and whole images that are DynamoDB JSON already; the record refers to them."""
    operation = Operation.INSERT if before is None else Operation.MODIFY if after is not None else Operation.REMOVE
    if before is None and after is None:
        operation = Operation.REMOVE
    facts: dict[str, Any] = {
        "ApproximateCreationDateTime": created,
        "Keys": keys,
        "SequenceNumber": sequence,
        "SizeBytes": 1,
        "StreamViewType": view.value,
    }
    if before is not None and view.has_old_image:
        facts["OldImage"] = before
    if after is not None and view.has_new_image:
        facts["NewImage"] = after
    record: dict[str, Any] = {
        "eventID": event_id,
        "eventName": operation.value,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": facts,
        "eventSourceARN": stream_arn,
    }
    if expired:
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return record


def change(
    keys: Mapping[str, Any],
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Change:
    """The change of such a record; `facts` as `stream_record` takes them."""
    record = stream_record(keys, before, after, **facts)
    return change_from_stream_record(record, Stream.dynamodb(record["eventSourceARN"]))
