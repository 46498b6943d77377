"""The HTTP application: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cdc.errors import ConfigError
from consumers.http.health import Health, Report

try:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise ConfigError(f"{error.name} is not installed", remedy="In a checkout: pip install '.[service]'") from error

__all__ = ["application"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"

Endpoint = Callable[[Request], Awaitable[Response]]


def application(health: Health, metrics: Callable[[], bytes]) -> Starlette:
    """The three pages. All of them are answered by the server's one thread, from what is known already: a thread for
    each request would be attached to the JVM and never let go."""

    async def page(_request: Request) -> Response:
        return Response(metrics(), media_type=_TEXT)

    return Starlette(
        routes=[
            Route("/healthz", _reporting(health.alive)),
            Route("/readyz", _reporting(health.ready)),
            Route("/metrics", page),
        ]
    )


def _reporting(look: Callable[[], Report]) -> Endpoint:
    async def report(_request: Request) -> Response:
        found = look()
        return JSONResponse(dict(found.body), 200 if found.ok else 503, {"Cache-Control": "no-store"})

    return report
