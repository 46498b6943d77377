"""The errors of opensearch-py, as its client raises them from an answer or from a failed connection."""

from __future__ import annotations

from typing import Any

__all__ = ["index_closed", "index_not_found", "no_connection", "refused", "timed_out"]


def refused(status: int, kind: str, reason: str, **facts: Any) -> Exception:
    """The exception of an answer with this status: its `error` is the type, its `info` the whole body."""
    from opensearchpy.exceptions import HTTP_EXCEPTIONS, TransportError

    error = {"type": kind, "reason": reason, **facts}
    body = {"error": {"root_cause": [error], **error}, "status": status}
    return HTTP_EXCEPTIONS.get(status, TransportError)(status, kind, body)


def index_not_found(name: str) -> Exception:
    """There is neither an index nor an alias of this name."""
    return refused(404, "index_not_found_exception", f"no such index [{name}]", index=name)


def index_closed(name: str) -> Exception:
    """The index is there, and closed."""
    return refused(400, "index_closed_exception", "closed", index=name)


def timed_out(seconds: float) -> Exception:
    """No answer within the client's timeout: what was asked for may have happened, may happen yet, or never will."""
    from opensearchpy.exceptions import ConnectionTimeout

    text = f"HTTPConnectionPool(host='simulated', port=9200): Read timed out. (read timeout={seconds})"
    return ConnectionTimeout("TIMEOUT", text, TimeoutError(text))


def no_connection(text: str) -> Exception:
    """The connection could not be made, or broke before the answer was there."""
    from opensearchpy.exceptions import ConnectionError as NoConnection

    return NoConnection("N/A", text, ConnectionResetError(text))
