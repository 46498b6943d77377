"""A stand-in before a real AWS endpoint: it refuses what it is told to, and passes everything else on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from local.json_protocol import Asked, error, serving

__all__ = ["Refusal", "standing_in"]

Refusal = Callable[[str, dict[str, Any]], tuple[str, str] | None]
"""Decides by an operation's name and its parameters: the error's type and message, or None to pass it on."""

_HOP = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@contextmanager
def standing_in(endpoint: str, refuses: Refusal) -> Iterator[str]:
    """The URL of a stand-in for `endpoint`, which speaks AWS's JSON protocol."""

    def answer(asked: Asked) -> tuple[int, bytes]:
        refusal = refuses(asked.operation, asked.parameters)
        return _passed_on(endpoint, asked) if refusal is None else error(*refusal)

    with serving(answer) as url:
        yield url


def _passed_on(endpoint: str, asked: Asked) -> tuple[int, bytes]:
    headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP}
    try:
        with urlopen(Request(endpoint, asked.body, headers), timeout=60) as answer:
            return answer.status, answer.read()
    except HTTPError as failed:
        return failed.code, failed.read()
