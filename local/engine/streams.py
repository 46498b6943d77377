"""DynamoDB Streams: sequence numbers, sizes, equal sets, closed streams and shard ids as AWS has them."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from hashlib import md5
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import dynamodb, dynamodb_streams

__all__ = [
    "canonical",
    "ignore_order_of_sets",
    "list_all_streams",
    "name_shards",
    "number_as_aws",
    "refuse_second_stream",
    "tell_sizes",
]

_SETS = ("SS", "NS", "BS")


def number_as_aws() -> None:
    """Make sequence numbers of a counter and 20 digits of a log position, without leading zeros.

    MiniStack's are 20 digits of milliseconds and a counter of 10: the part above the last 20 digits, of which document
    versions are made, is the same for years.
    """
    numbers = itertools.count(1)

    def next_number() -> str:
        number = next(numbers)
        return f"{number}{number:020d}"

    dynamodb._next_stream_seq = next_number


def tell_sizes() -> None:
    """Tell `SizeBytes`, which is 0, and event ids without dashes."""
    build = dynamodb._build_change_record

    def build_change_record(*arguments: Any) -> Any:
        record = build(*arguments)
        change = record["dynamodb"]
        change["SizeBytes"] = sum(
            dynamodb._item_size_bytes(change[name]) for name in ("Keys", "NewImage", "OldImage") if change.get(name)
        )
        record["eventID"] = record["eventID"].replace("-", "")
        return record

    dynamodb._build_change_record = build_change_record


def canonical(value: Any) -> Any:
    """An attribute value, or an item, with its sets in order."""
    if isinstance(value, dict):
        return {
            name: sorted(held) if name in _SETS and isinstance(held, list) else canonical(held)
            for name, held in value.items()
        }
    return [canonical(held) for held in value] if isinstance(value, list) else value


def ignore_order_of_sets() -> None:
    """Write no record, to a stream or to Kinesis, of a put that changes nothing but the order of a set's members."""
    emit, fan_out = dynamodb._emit_stream_event, dynamodb._fan_out_to_kinesis

    def emit_stream_event(table: str, event: str, old: Any, new: Any, replicate: bool = True) -> None:
        if event == "MODIFY" and old != new and canonical(old) == canonical(new):
            new = old
        emit(table, event, old, new, replicate)

    def fan_out_to_kinesis(table: str, record: Any) -> None:
        images = record["dynamodb"]
        if record["eventName"] != "MODIFY" or images.get("OldImage") != images.get("NewImage"):
            fan_out(table, record)

    dynamodb._emit_stream_event, dynamodb._fan_out_to_kinesis = emit_stream_event, fan_out_to_kinesis


def list_all_streams() -> None:
    """List disabled streams, and those of deleted tables, which can be read for 24 hours."""

    def list_streams(asked: Any) -> Any:
        wanted, limit = asked.get("TableName"), int(asked.get("Limit") or 100)
        found = [
            {"StreamArn": arn, "TableName": closed["TableName"], "StreamLabel": closed["StreamLabel"]}
            for arn, closed in list(dynamodb._closed_streams.items())
            if dynamodb.closed_stream(arn)
        ]
        enabled = filter(None, map(dynamodb_streams._enabled_stream_info, dynamodb._tables))
        found += [{name: info[name] for name in ("StreamArn", "TableName", "StreamLabel")} for info in enabled]
        start = asked.get("ExclusiveStartStreamArn") or ""
        found = sorted(
            (one for one in found if wanted in (None, one["TableName"]) and one["StreamArn"] > start),
            key=lambda one: one["StreamArn"],
        )
        answer: dict[str, Any] = {"Streams": found[:limit]}
        if len(found) > limit:
            answer["LastEvaluatedStreamArn"] = found[limit - 1]["StreamArn"]
        return json_response(answer)

    dynamodb_streams._list_streams = list_streams


def name_shards() -> None:
    """Name each stream's one shard by the stream, tell where it starts, and where a closed and empty one ends.

    MiniStack names every shard of every table alike; below this it still does.
    """
    describe, iterate = dynamodb_streams._describe_stream, dynamodb_streams._get_shard_iterator
    inner = dynamodb_streams._DEFAULT_SHARD_ID
    first = f"{1}{0:020d}"

    def describe_stream(asked: Any) -> Any:
        arn = asked.get("StreamArn") or ""
        if dynamodb_streams._stream_source(arn) and asked.get("ExclusiveStartShardId") == _shard_id(arn):
            asked = {**asked, "ExclusiveStartShardId": inner}
        status, headers, body = describe(asked)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        for shard in answer["StreamDescription"]["Shards"]:
            shard["ShardId"] = _shard_id(arn)
            numbers = shard["SequenceNumberRange"]
            numbers.setdefault("StartingSequenceNumber", first)
            if answer["StreamDescription"]["StreamStatus"] == "DISABLED":
                numbers.setdefault("EndingSequenceNumber", numbers["StartingSequenceNumber"])
        return json_response(answer)

    def get_shard_iterator(asked: Any) -> Any:
        arn = asked.get("StreamArn") or ""
        if not dynamodb_streams._stream_source(arn):
            return iterate(asked)
        if asked.get("ShardId") == _shard_id(arn):
            return iterate({**asked, "ShardId": inner})
        return dynamodb_streams._shard_not_found()

    dynamodb_streams._describe_stream, dynamodb_streams._get_shard_iterator = describe_stream, get_shard_iterator


def _shard_id(arn: str) -> str:
    """AWS's form: the milliseconds of the creation, and a part that tells streams of one millisecond apart."""
    created = datetime.fromisoformat(arn.rpartition("/stream/")[2]).replace(tzinfo=UTC)
    digest = md5(arn.encode(), usedforsecurity=False).hexdigest()
    return f"shardId-{int(created.timestamp() * 1000):020d}-{digest[:8]}"


def refuse_second_stream() -> None:
    """Refuse to enable a stream that is enabled, as AWS does."""
    update = dynamodb._update_table

    def update_table(asked: Any) -> Any:
        table = dynamodb._tables.get(dynamodb._normalize_table_name(asked.get("TableName"))) or {}
        has, wants = table.get("StreamSpecification") or {}, asked.get("StreamSpecification") or {}
        if has.get("StreamEnabled") and wants.get("StreamEnabled"):
            return error_response_json("ValidationException", "Table already has an enabled stream", 400)
        return update(asked)

    dynamodb._update_table = update_table
