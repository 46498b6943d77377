"""A server of the benchmarks in a process of its own: its CPU is not the caller's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["serve", "served"]


@contextmanager
def served(module: str, *arguments: str) -> Iterator[str]:
    """The endpoint of the server that a module of ours starts by `serve`, until the block ends."""
    process = subprocess.Popen(  # noqa: S603  (our own module)
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or not (port := process.stdout.readline().strip()):
            raise RuntimeError("the server did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(timeout=10)


def serve(handler: type[BaseHTTPRequestHandler]) -> None:
    """Print the port, serve until the input ends, and end the process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    os._exit(0)  # open connections must not hold it
