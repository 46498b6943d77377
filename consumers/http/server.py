"""The HTTP server: uvicorn on a daemon thread; signals stay the consumer's."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cdc.errors import ConfigError

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["serving"]

log = logging.getLogger(__name__)

_END_SECONDS = 2.0


@contextmanager
def serving(app: Starlette, host: str, port: int) -> Iterator[int]:
    """Serve `app` as long as the block runs; the port, which the system chooses for 0.

    Raises:
        ConfigError: uvicorn is not installed, or the address can't be used.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed", remedy="In a checkout: pip install '.[service]'") from error
    listener = _bound(host, port)
    chosen = int(listener.getsockname()[1])
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, log_level="warning", access_log=False, ws="none")
    )
    # uvicorn takes signals in the main thread only
    thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
    thread.start()
    log.info("health and metrics on http://%s:%d", host, chosen)
    try:
        yield chosen
    finally:
        server.should_exit = True
        thread.join(_END_SECONDS)
        listener.close()


def _bound(host: str, port: int) -> socket.socket:
    """Bound here, and not by uvicorn, whose failure would end a thread and be seen by nobody."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"{host!r} is no address of this host: {error}", remedy="Check CDC_HTTP_HOST.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        why = "is in use" if error.errno == errno.EADDRINUSE else f"can't be used: {os.strerror(error.errno or 0)}"
        raise ConfigError(
            f"the port {port} of {host} {why}", remedy="Set CDC_HTTP_PORT (and CDC_HTTP_HOST) to one that is free."
        ) from error
    return listener
