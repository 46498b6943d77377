"""A simulated S3: what the archive and the dead letters need of its client, with the failures of a real one."""
# ruff: noqa: N803  (boto3's own names of arguments)

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults

__all__ = ["SimulatedS3", "StoredObject"]

_PUT_FAULTS = {"503": 2.0, "timeout, written": 2.0, "timeout, not written": 2.0, "timeout, written late": 1.0}
_CONDITIONAL_FAULTS = {**_PUT_FAULTS, "409": 2.0}
_READ_FAULTS = {"503": 1.0, "timeout": 1.0, "no connection": 1.0}
_LATEST_SECONDS = 90
_ENDPOINT = "https://simulated.s3.amazonaws.com"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was put; `etag` with its quotes."""

    bucket: str
    key: str
    body: bytes
    etag: str
    metadata: Mapping[str, str]
    content_type: str
    modified: datetime


class SimulatedS3:
    """Stands in for boto3's client of S3: raises botocore's exceptions; every bucket exists.

    Writes can be conditional: `IfNoneMatch="*"` is refused with 412 where there is an object, `IfMatch` with 412 where
    it is another one and with 404 where there is none. With `faults`, requests fail in the ways of `faults.counts`, a
    conditional one with 409 too; time passes on `clock` while one times out. One write may arrive up to 90 s after its
    request was given up, and its condition holds or not by then: `timeout, written late`. botocore's own retries are
    not simulated: a fault is what it would raise at last.

    `puts` holds the time and the key of each write that happened. A listing's pages hold `page_size` entries.
    """

    def __init__(
        self, clock: SimulatedClock, faults: Faults | None = None, *, page_size: int = 10, timeout_seconds: float = 10.0
    ) -> None:
        from botocore.exceptions import ClientError

        class NoSuchKey(ClientError):
            """There is no such object."""

        self.faults = faults
        self.puts: list[tuple[float, str]] = []
        self.exceptions = SimpleNamespace(ClientError=ClientError, NoSuchKey=NoSuchKey)
        self._clock = clock
        self._page_size = page_size
        self._timeout_seconds = timeout_seconds
        self._objects: dict[tuple[str, str], StoredObject] = {}

    @property
    def objects(self) -> dict[str, StoredObject]:
        """The stored objects, by key, of all buckets."""
        return {key: stored for (_, key), stored in self._objects.items()}

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes = b"",
        Metadata: Mapping[str, str] | None = None,
        ContentType: str = "binary/octet-stream",
        IfNoneMatch: str | None = None,
        IfMatch: str | None = None,
        **_options: Any,
    ) -> dict[str, Any]:
        """Write an object, if the condition holds.

        Raises:
            ClientError: the condition doesn't hold, or a fault.
            ReadTimeoutError: a fault: the object may have been written, or may be yet.
        """
        conditional = IfNoneMatch is not None or IfMatch is not None

        def write() -> dict[str, Any]:
            self._check(Bucket, Key, IfNoneMatch, IfMatch)
            etag = f'"{hashlib.md5(Body, usedforsecurity=False).hexdigest()}"'
            self._objects[Bucket, Key] = StoredObject(
                Bucket, Key, bytes(Body), etag, dict(Metadata or {}), ContentType, self._clock.utc()
            )
            self.puts.append((self._clock(), Key))
            return {"ETag": etag}

        kind = self._draw("s3 put", _CONDITIONAL_FAULTS if conditional else _PUT_FAULTS)
        return write() if kind is None else self._faulty(kind, write)

    def _faulty(self, kind: str, write: Callable[[], Any]) -> Any:
        match kind:
            case "503":
                raise self._slow_down("PutObject")
            case "409":
                text = "A conflicting conditional operation is currently in progress against this resource."
                raise self._error("ConditionalRequestConflict", text, 409, "PutObject")
            case "timeout, written":
                self._arriving(write)
            case "timeout, written late":
                after_seconds = self._timeout_seconds + (self.faults.pick(1, _LATEST_SECONDS) if self.faults else 1)
                self._clock.at(self._clock() + after_seconds, lambda: self._arriving(write))
        raise self._timed_out()

    def _arriving(self, write: Callable[[], Any]) -> None:
        """A write whose answer nobody hears, a refusal neither."""
        from botocore.exceptions import ClientError

        try:
            write()
        except ClientError:
            return

    def get_object(self, *, Bucket: str, Key: str, **_options: Any) -> dict[str, Any]:
        """Read an object.

        Raises:
            NoSuchKey: there is none.
            ClientError: a fault.
            ReadTimeoutError: a fault.
        """
        from botocore.response import StreamingBody

        self._read("s3 get", "GetObject")
        stored = self._objects.get((Bucket, Key))
        if stored is None:
            raise self._no_such_key(Key, "GetObject")
        return {**_head(stored), "Body": StreamingBody(io.BytesIO(stored.body), len(stored.body))}

    def head_object(self, *, Bucket: str, Key: str, **_options: Any) -> dict[str, Any]:
        """The facts of an object; without one the error's code is `404`, as a HEAD has no body to say more."""
        self._read("s3 get", "HeadObject")
        stored = self._objects.get((Bucket, Key))
        if stored is None:
            raise self._error("404", "Not Found", 404, "HeadObject")
        return _head(stored)

    def delete_object(self, *, Bucket: str, Key: str, **_options: Any) -> dict[str, Any]:
        """Delete an object; there need be none."""
        self._read("s3 delete", "DeleteObject")
        self._objects.pop((Bucket, Key), None)
        return {}

    def list_objects_v2(
        self,
        *,
        Bucket: str,
        Prefix: str = "",
        MaxKeys: int | None = None,
        ContinuationToken: str = "",
        StartAfter: str = "",
        Delimiter: str = "",
        **_options: Any,
    ) -> dict[str, Any]:
        """One page of the keys, sorted by their UTF-8 bytes; with a delimiter the keys that share what stands up to it
        are one prefix."""
        self._read("s3 list", "ListObjectsV2")
        found = (key for bucket, key in self._objects if bucket == Bucket and key.startswith(Prefix))
        keys = sorted({_up_to(Delimiter, key, len(Prefix)) for key in found})
        after = max(ContinuationToken, StartAfter)
        keys = [key for key in keys if key > after]
        size = min(MaxKeys or self._page_size, self._page_size)
        page = keys[:size]
        answer: dict[str, Any] = {
            "Name": Bucket,
            "Prefix": Prefix,
            "MaxKeys": size,
            "KeyCount": len(page),
            "IsTruncated": len(keys) > size,
        }
        if contents := [_entry(self._objects[Bucket, key]) for key in page if (Bucket, key) in self._objects]:
            answer["Contents"] = contents
        if prefixes := [{"Prefix": key} for key in page if (Bucket, key) not in self._objects]:
            answer["CommonPrefixes"] = prefixes
        if len(keys) > size:
            answer["NextContinuationToken"] = page[-1]
        return answer

    def get_paginator(self, operation: str) -> _Pages:
        """The paginator of `list_objects_v2`."""
        if operation != "list_objects_v2":
            raise ValueError(f"only list_objects_v2 is simulated, not {operation}")
        return _Pages(self)

    def close(self) -> None:
        """Holds no connection."""

    def _check(self, bucket: str, key: str, none_match: str | None, match: str | None) -> None:
        stored = self._objects.get((bucket, key))
        if match is not None and stored is None:
            raise self._no_such_key(key, "PutObject")
        differs = match is not None and stored is not None and stored.etag.strip('"') != match.strip('"')
        if differs or (none_match == "*" and stored is not None):
            text = "At least one of the pre-conditions you specified did not hold"
            condition = "If-None-Match" if none_match else "If-Match"
            raise self._error("PreconditionFailed", text, 412, "PutObject", Condition=condition)

    def _draw(self, place: str, kinds: Mapping[str, float]) -> str | None:
        return None if self.faults is None else self.faults.draw(place, kinds)

    def _read(self, place: str, operation: str) -> None:
        """Where every request but a put may fail; then nothing is done."""
        match self._draw(place, _READ_FAULTS):
            case "503":
                raise self._slow_down(operation)
            case "timeout":
                raise self._timed_out()
            case "no connection":
                from botocore.exceptions import EndpointConnectionError

                raise EndpointConnectionError(endpoint_url=_ENDPOINT)

    def _timed_out(self) -> Exception:
        from botocore.exceptions import ReadTimeoutError

        self._clock.sleep(self._timeout_seconds)
        return ReadTimeoutError(endpoint_url=_ENDPOINT)

    def _slow_down(self, operation: str) -> Exception:
        return self._error("SlowDown", "Please reduce your request rate.", 503, operation)

    def _no_such_key(self, key: str, operation: str) -> Exception:
        return self._error("NoSuchKey", "The specified key does not exist.", 404, operation, Key=key)

    def _error(self, code: str, message: str, status: int, operation: str, **facts: str) -> Exception:
        kind = self.exceptions.NoSuchKey if code == "NoSuchKey" else self.exceptions.ClientError
        error: Exception = kind(
            {
                "Error": {"Code": code, "Message": message, **facts},
                "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": 0},
            },
            operation,
        )
        return error


@dataclass(frozen=True)
class _Pages:
    client: SimulatedS3

    def paginate(self, **about: Any) -> Iterator[dict[str, Any]]:
        """One page after the other."""
        token: dict[str, Any] = {}
        while True:
            page = self.client.list_objects_v2(**about, **token)
            yield page
            if not page["IsTruncated"]:
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}


def _up_to(delimiter: str, key: str, start: int) -> str:
    """The key up to the delimiter, if that stands behind the prefix; else the key."""
    end = key.find(delimiter, start) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


def _head(stored: StoredObject) -> dict[str, Any]:
    return {
        "ETag": stored.etag,
        "ContentLength": len(stored.body),
        "ContentType": stored.content_type,
        "Metadata": dict(stored.metadata),
        "LastModified": stored.modified,
    }


def _entry(stored: StoredObject) -> dict[str, Any]:
    return {"Key": stored.key, "Size": len(stored.body), "ETag": stored.etag, "LastModified": stored.modified}
