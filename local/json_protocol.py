"""A server on this machine that speaks AWS's JSON 1.0 protocol: the operation in a header, one object each way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

__all__ = ["Asked", "error", "serving"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: the operation's name without its version, the HTTP headers, the body as it came."""

    operation: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the request: its body, parsed."""
        found: dict[str, Any] = orjson.loads(self.body or b"{}")
        return found


def error(kind: str, message: str) -> tuple[int, bytes]:
    """An answer that is an error of DynamoDB or its streams, by the error's name."""
    return 400, orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": message})


@contextmanager
def serving(answer: Callable[[Asked], tuple[int, bytes]]) -> Iterator[str]:
    """The URL of a server that answers by `answer`, of HTTP status and body, from several threads at once; it ends with
    the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that was killed
                super().handle()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            status, answered = answer(Asked(operation, dict(self.headers.items()), body))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(answered)))
            self.end_headers()
            self.wfile.write(answered)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
