"""A TCP proxy between a client and a real server that resets, delays or cuts answers, switched while it runs."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

__all__ = ["Delayed", "HalfAnswer", "ProxyFault", "Reset", "TcpProxy"]

_CHUNK_BYTES = 64 * 1024
_LOOK_SECONDS = 0.2
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST instead of FIN


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset when a request arrives: the server never sees it."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """The answer comes `seconds` later: a client of less patience does not know whether its request was done."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HalfAnswer:
    """The server has done what it was asked; the client gets `bytes` of its answer, never all, and then a reset."""

    bytes: int = 20


ProxyFault = Reset | Delayed | HalfAnswer


class TcpProxy:
    """Listens on a free port of the loopback address and passes everything on to `host`:`port`.

    A fault strikes requests, also those on connections that are open already. A request is what the client sends
    after it was last answered, as in HTTP without pipelining; of one with `Expect: 100-continue`, head and body are
    two. When one side ends a connection, the other side's is ended too.

        with TcpProxy("127.0.0.1", 4566) as proxy:
            s3 = boto3.client("s3", endpoint_url=proxy.url)
            with proxy.injecting(Reset(), share=0.5):
                ...

    `struck` counts the faults by the names of their kinds.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.struck: Counter[str] = Counter()
        self._upstream = (host, port)
        self._chance = random.Random(seed)  # noqa: S311  (not a secret)
        self._lock = threading.Lock()
        self._fault: ProxyFault | None = None
        self._share = 1.0
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_LOOK_SECONDS)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """Where clients of HTTP find it."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> TcpProxy:
        """Start to listen."""
        self._run(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every connection, and listen no more."""
        self._closed.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def inject(self, fault: ProxyFault | None, share: float = 1.0) -> None:
        """From now on `share` of the requests meet `fault`; None: none does."""
        with self._lock:
            self._fault, self._share = fault, share

    @contextmanager
    def injecting(self, fault: ProxyFault, share: float = 1.0) -> Iterator[None]:
        """Inject within the block."""
        self.inject(fault, share)
        try:
            yield
        finally:
            self.inject(None)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="tcp-proxy")
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream, timeout=30) as server:
            client.settimeout(30)
            for side in (client, server):
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """By one thread: a socket that another thread still reads from can't be reset."""
        asking, fault = False, None
        while not self._closed.is_set():
            ready, _, _ = select.select([client, server], [], [], _LOOK_SECONDS)
            for side in ready:
                data = side.recv(_CHUNK_BYTES)
                if not data:
                    return
                if side is client:
                    if not asking:
                        asking, fault = True, self._draw()
                    if isinstance(fault, Reset):
                        _reset(client)
                        return
                    server.sendall(data)
                    continue
                asking = False
                match fault:
                    case Delayed(seconds):
                        self._closed.wait(seconds)
                    case HalfAnswer(count):
                        client.sendall(data[: min(count, len(data) - 1)])
                        _reset(client)
                        return
                fault = None  # the rest of a delayed answer follows at once
                client.sendall(data)

    def _draw(self) -> ProxyFault | None:
        with self._lock:
            if self._fault is None or self._chance.random() >= self._share:
                return None
            self.struck[type(self._fault).__name__] += 1
            return self._fault


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    connection.close()
