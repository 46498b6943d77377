"""A stand-in before a real AWS endpoint: it refuses what it is told to, and passes everything else on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

__all__ = ["Refusal", "standing_in"]

Refusal = Callable[[str, dict[str, Any]], tuple[str, str] | None]
"""Decides by an operation's name and its parameters: the error's type and message, or None to pass it on."""

_HOP = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@contextmanager
def standing_in(endpoint: str, refuses: Refusal) -> Iterator[str]:
    """The URL of a stand-in for `endpoint`, which speaks AWS's JSON protocol."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            refusal = refuses(operation, json.loads(body or b"{}"))
            if refusal is None:
                self._answer(*self._passed_on(body))
            else:
                kind, message = refusal
                error = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", "message": message}
                self._answer(400, json.dumps(error).encode())

        def _passed_on(self, body: bytes) -> tuple[int, bytes]:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            try:
                with urlopen(Request(endpoint, body, headers), timeout=60) as answer:
                    return answer.status, answer.read()
            except HTTPError as error:
                return error.code, error.read()

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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
