"""A full table over HTTP, in a process of its own: DescribeTable, and Scan by segments.

`python -m benchmarks.table_server TABLE ITEMS` prints its port and serves until its input ends. The table holds
`benchmarks.orders`, made into bytes before the port is printed, so that a page costs little more than its sending: the
engine's own Scan looks at the whole table for each page, and limits who reads it. It answers what a reader of such a
table asks, and checks nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson

from benchmarks.orders import item
from benchmarks.server_process import serve, served

__all__ = ["serving"]

_PAGE_BYTES = 1 << 20
_READ_UNIT_BYTES = 4096
_CREATED = 1_767_225_600


class _Table:
    """Answers; segment s of n holds the items from s / n to (s + 1) / n."""

    def __init__(self, name: str, items: int) -> None:
        self._name = name
        self._items = [orjson.dumps(item(number)) for number in range(items)]
        self._places = {item(number)["pk"]["S"]: number for number in range(items)}
        self._page = _PAGE_BYTES // max(map(len, self._items))

    def answer(self, operation: str, asked: Mapping[str, Any]) -> bytes:
        """An answer as AWS would give it."""
        return self._scan(asked) if operation == "Scan" else orjson.dumps({"Table": self._description()})

    def _scan(self, asked: Mapping[str, Any]) -> bytes:
        segment, segments = asked.get("Segment", 0), asked.get("TotalSegments", 1)
        begin, end = (len(self._items) * one // segments for one in (segment, segment + 1))
        if "ExclusiveStartKey" in asked:
            begin = self._places[asked["ExclusiveStartKey"]["pk"]["S"]] + 1
        page = self._items[begin : min(end, begin + self._page)]
        units = -(-sum(map(len, page)) // _READ_UNIT_BYTES) / (1 if asked.get("ConsistentRead") else 2)
        more = begin + len(page) < end
        last = b',"LastEvaluatedKey":%b' % orjson.dumps({"pk": orjson.loads(page[-1])["pk"]}) if more else b""
        return b'{"Items":[%b],"Count":%d,"ConsumedCapacity":{"CapacityUnits":%f}%b}' % (
            *(b",".join(page), len(page), units, last),
        )

    def _description(self) -> dict[str, Any]:
        arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{self._name}"
        return {
            "TableName": self._name,
            "TableArn": arn,
            "TableId": "00000000-0000-0000-0000-000000000001",
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            "ItemCount": len(self._items),
            "TableSizeBytes": sum(map(len, self._items)),
            "LatestStreamArn": f"{arn}/stream/2026-01-01T00:00:00.000",
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
            "TableStatus": "ACTIVE",
            "CreationDateTime": _CREATED,
        }


def _handler(table: _Table) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """AWS's JSON 1.0 protocol: the operation in a header, one object each way."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = table.answer(self.headers["X-Amz-Target"].rpartition(".")[2], asked)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    return Handler


def serving(table: str, items: int) -> AbstractContextManager[str]:
    """The endpoint of such a server in a process of its own."""
    return served("benchmarks.table_server", table, str(items))


if __name__ == "__main__":
    serve(_handler(_Table(sys.argv[1], int(sys.argv[2]))))
