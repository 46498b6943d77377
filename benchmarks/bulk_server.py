"""A server that answers as OpenSearch does, as fast as it can, in a process of its own: `python -m
benchmarks.bulk_server` prints its port and serves until its input ends.

It takes every bulk request and answers each action as applied at the version it was sent with, without keeping
anything, and heeds `filter_path` in so far as what is filtered is left out. Its CPU is not the caller's.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson

from benchmarks.server_process import serve, served

__all__ = ["serving"]


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self._body()
        if self.path.split("?")[0].endswith("/_bulk"):
            self._answer(200, _bulk_answer(body, filtered="filter_path" in self.path))
        else:
            self._answer(200, b'{"acknowledged":true}')

    def do_PUT(self) -> None:
        self._body()
        self._answer(200, b'{"acknowledged":true}')

    def do_HEAD(self) -> None:
        """Every index is there, and none is an alias."""
        self._answer(404 if "_alias" in self.path else 200, b"")

    def do_GET(self) -> None:
        name = self.path.split("?")[0].split("/")[1]
        self._answer(
            200, orjson.dumps({name: {"settings": {"index.gc_deletes": "20m"}, "mappings": {}, "aliases": {}}})
        )

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def _bulk_answer(body: bytes, *, filtered: bool) -> bytes:
    items: list[dict[str, Any]] = []
    lines = iter(body.split(b"\n"))
    for line in lines:
        if line:
            ((action, about),) = orjson.loads(line).items()
            if action != "delete":
                next(lines)
            items.append({action: _answer_of(about, filtered=filtered)})
    return orjson.dumps({"took": 1, "errors": False, "items": items})


def _answer_of(about: dict[str, Any], *, filtered: bool) -> dict[str, Any]:
    short = {"_version": about.get("version", 1), "status": 201}
    if filtered:
        return short
    return {
        "_index": about["_index"],
        "_id": about["_id"],
        **short,
        "result": "created",
        "_shards": {"total": 2, "successful": 1, "failed": 0},
        "_seq_no": 1,
        "_primary_term": 1,
    }


def serving() -> AbstractContextManager[str]:
    """The endpoint of such a server in a process of its own."""
    return served("benchmarks.bulk_server")


if __name__ == "__main__":
    serve(_Answering)
