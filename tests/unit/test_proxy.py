"""The test kit's TCP proxy, between a plain client and a plain server of HTTP."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cdc.testing import Delayed, HalfAnswer, ProxyFault, Reset, TcpProxy

BODY = b"x" * 300_000


class Server(ThreadingHTTPServer):
    """Answers every request with its body; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def proxy(server: Server) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.server_address[1], seed=1) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    yield connection
    connection.close()


def ask(client: http.client.HTTPConnection, body: bytes = BODY) -> bytes:
    client.request("POST", "/", body)
    return client.getresponse().read()


def fails(client: http.client.HTTPConnection) -> bool:
    try:
        ask(client)
    except (OSError, http.client.HTTPException):
        client.close()
        return True
    return False


def test_without_a_fault_everything_passes_over_one_connection(
    client: http.client.HTTPConnection, server: Server
) -> None:
    assert ask(client) == BODY
    used = client.sock
    assert ask(client, b"again") == b"again"
    assert client.sock is used
    assert server.asked == [BODY, b"again"]


def test_a_reset_request_never_reaches_the_server(
    client: http.client.HTTPConnection, proxy: TcpProxy, server: Server
) -> None:
    assert ask(client) == BODY
    with proxy.injecting(Reset()), pytest.raises(ConnectionError):  # of the connection that is open already
        ask(client)
    assert len(server.asked) == 1
    client.close()
    assert ask(client) == BODY
    assert proxy.struck == {"Reset": 1}


def test_of_a_half_answer_the_request_was_done_and_the_client_cannot_know(
    client: http.client.HTTPConnection, proxy: TcpProxy, server: Server
) -> None:
    with proxy.injecting(HalfAnswer(12)):
        assert fails(client)
    assert server.asked == [BODY]


def test_not_even_a_short_answer_passes_whole(
    client: http.client.HTTPConnection, proxy: TcpProxy, server: Server
) -> None:
    with proxy.injecting(HalfAnswer(10**9)):
        assert fails(client)
    assert server.asked == [BODY]


def test_a_delayed_answer_outlasts_an_impatient_client_and_reaches_a_patient_one(
    proxy: TcpProxy, server: Server
) -> None:
    with proxy.injecting(Delayed(0.6)):
        hasty = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=0.2)
        with pytest.raises(TimeoutError):
            ask(hasty)
        hasty.close()
        patient = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        assert ask(patient) == BODY
        patient.close()
    assert server.asked == [BODY, BODY]


@pytest.mark.parametrize("fault", [Reset(), HalfAnswer()], ids=repr)
def test_a_share_of_the_requests_is_struck_the_same_for_the_same_seed(server: Server, fault: ProxyFault) -> None:
    runs = []
    for _ in range(2):
        with TcpProxy("127.0.0.1", server.server_address[1], seed=3) as proxy, proxy.injecting(fault, share=0.5):
            client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
            runs.append([fails(client) for _ in range(20)])
            client.close()
            assert proxy.struck == {type(fault).__name__: sum(runs[-1])}
    assert runs[0] == runs[1]
    assert 3 < sum(runs[0]) < 17


def test_a_server_that_is_gone_ends_the_connection(server: Server) -> None:
    with TcpProxy("127.0.0.1", 9) as proxy:  # nobody listens there
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        assert fails(client)


def test_its_end_ends_the_connections(client: http.client.HTTPConnection, server: Server) -> None:
    with TcpProxy("127.0.0.1", server.server_address[1]) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        assert ask(client) == BODY
    assert fails(client)
