"""OpenSearch and S3 that agree at once: an index that is there and has shown its versions, a bucket that keeps nothing.

What a first batch costs the function itself is measured, not what a server needs for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["agreeable_server"]


class _Agrees(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    memory: dict[str, Any]

    def log_message(self, *_: Any) -> None:
        """Nobody reads along."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        answer: Any = {"acknowledged": True}
        if path == "/_bulk":
            answer = {"errors": False, "items": list(_applied(body))}
        elif path.endswith("/_mapping") and self.command == "PUT":
            self.memory.update(json.loads(body).get("_meta", {}))
        elif path.endswith("/_mapping") or self.command == "GET":
            settings = {"index.gc_deletes": "20m"}
            answer = {"orders-v1": {"settings": settings, "mappings": {"_meta": self.memory}}}
        silent = self.command == "HEAD" or path.startswith("/lake/")  # S3 says all in its headers
        sent = b"" if silent else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"kept"')
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815  (names of the base class)


def _applied(body: bytes) -> Iterator[dict[str, Any]]:
    lines = iter(body.splitlines())
    for line in lines:
        ((operation, action),) = json.loads(line).items()
        if operation != "delete":
            next(lines)
        yield {operation: {"_index": "orders-v1", "status": 200, "_version": action["version"]}}


@contextmanager
def agreeable_server() -> Iterator[str]:
    """Its URL, while it runs."""
    agrees = type("Agrees", (_Agrees,), {"memory": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), agrees)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
