"""Full streams over HTTP, in a process of their own: the four operations of DynamoDB Streams, one open shard a stream.

`python -m benchmarks.streams_server ITEMS ARN ...` prints its port and serves until its input ends. Each stream tells
of the same orders, each put once. Records are made into bytes before the port is printed, so that a page costs little
more than its sending. It answers what a reader of such streams asks, and checks nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson

from benchmarks.orders import record
from benchmarks.server_process import serve, served
from cdc.records.stream import Stream

__all__ = ["serving"]

_SHARD = "shardId-00000001767225600000-0a1b2c3d"
_CREATED = 1_767_225_600
_PAGE_RECORDS, _PAGE_BYTES = 1000, 1 << 20
"""The most that one answer holds (DynamoDB Streams API reference, GetRecords)."""


class _Streams:
    """Answers; an iterator is the place of a shard's next record."""

    def __init__(self, arns: Sequence[str], items: int) -> None:
        self._streams = {arn: Stream.dynamodb(arn) for arn in arns}
        records = [record(number) for number in range(items)]
        self._first = records[0]["dynamodb"]["SequenceNumber"]
        self._page = min(_PAGE_RECORDS, _PAGE_BYTES // max(one["dynamodb"]["SizeBytes"] for one in records))
        self._records = [orjson.dumps(one) for one in records]

    def answer(self, operation: str, asked: Mapping[str, Any]) -> bytes:
        """An answer as AWS would give it."""
        if operation == "GetRecords":
            return self._get_records(int(asked["ShardIterator"]), int(asked.get("Limit") or _PAGE_RECORDS))
        if operation == "GetShardIterator":
            return orjson.dumps({"ShardIterator": str(self._place(asked))})
        if operation == "DescribeStream":
            return orjson.dumps({"StreamDescription": self._description(asked)})
        return orjson.dumps(
            {
                "Streams": [
                    {"StreamArn": arn, "TableName": stream.table, "StreamLabel": stream.label}
                    for arn, stream in self._streams.items()
                    if asked.get("TableName") in (None, stream.table)
                ]
            }
        )

    def _get_records(self, place: int, limit: int) -> bytes:
        page = self._records[place : place + min(limit, self._page)]
        return b'{"Records":[%b],"NextShardIterator":"%d"}' % (b",".join(page), place + len(page))

    def _place(self, asked: Mapping[str, Any]) -> int:
        kind = asked["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            return 0
        if kind == "LATEST":
            return len(self._records)
        at = int(asked["SequenceNumber"][:-20]) - 1
        return at if kind == "AT_SEQUENCE_NUMBER" else at + 1

    def _description(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        stream = self._streams[asked["StreamArn"]]
        shard = {"ShardId": _SHARD, "SequenceNumberRange": {"StartingSequenceNumber": self._first}}
        return {
            "StreamArn": asked["StreamArn"],
            "TableName": stream.table,
            "StreamLabel": stream.label,
            "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            "CreationRequestDateTime": _CREATED,
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "Shards": [] if "ExclusiveStartShardId" in asked or "ShardFilter" in asked else [shard],
        }


def _handler(streams: _Streams) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """AWS's JSON 1.0 protocol: the operation in a header, one object each way."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = streams.answer(self.headers["X-Amz-Target"].rpartition(".")[2], asked)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


def serving(arns: Sequence[str], items: int) -> AbstractContextManager[str]:
    """The endpoint of such a server in a process of its own: each of the streams has `items` records."""
    return served("benchmarks.streams_server", str(items), *arns)


if __name__ == "__main__":
    serve(_handler(_Streams(sys.argv[2:], int(sys.argv[1]))))
