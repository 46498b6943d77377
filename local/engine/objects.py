"""S3: the checksum in the answer of a put, and the conflict of a conditional put with a delete."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import Any

from ministack import app as application
from ministack.services import s3

__all__ = ["answer_checksums", "refuse_races"]


def answer_checksums() -> None:
    """Answer a put with the checksum that it came with: MiniStack checks it, and keeps it to itself."""
    put = s3._put_object

    def put_object(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
        status, answer, content = put(bucket, key, body, headers)
        if status == 200:
            stored = s3._buckets[bucket]["objects"][key].get("checksums") or {}
            answer.update({f"x-amz-checksum-{name.lower()}": value for name, value in stored.items()})
        return status, answer, content

    s3._put_object = put_object


def refuse_races() -> None:
    """Refuse a conditional put by 409 if its object is deleted between its first byte and its last.

    "How to prevent object overwrites with conditional writes" in the Amazon S3 User Guide. MiniStack looks once it has
    all of the body, so that no request ever meets another.
    """
    deletes = itertools.count(1)
    last = 0
    of_object: dict[tuple[str, str], int] = {}
    at_first_byte: ContextVar[int] = ContextVar("at_first_byte")
    serve, put, delete = application.app, s3._put_object, s3._delete_object

    async def app(scope: Any, receive: Any, send: Any) -> None:
        at_first_byte.set(last)
        await serve(scope, receive, send)

    def put_object(bucket: str, key: str, body: bytes, headers: dict[str, str]) -> Any:
        conditional = headers.get("if-none-match") or headers.get("if-match")
        if conditional and of_object.get((bucket, key), 0) > at_first_byte.get(last):
            message = "The conditional request cannot succeed due to a conflicting operation against this resource."
            return s3._error("ConditionalRequestConflict", message, 409, f"/{bucket}/{key}")
        return put(bucket, key, body, headers)

    def delete_object(bucket: str, key: str, *arguments: Any, **named: Any) -> Any:
        nonlocal last
        answer = delete(bucket, key, *arguments, **named)
        last = of_object[bucket, key] = next(deletes)
        return answer

    application.app, s3._put_object, s3._delete_object = app, put_object, delete_object
