"""Lambda's failure records: where they come from, and the redrive of one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from cdc.aws_errors import translated
from cdc.dead_letters.redrive import Redriven, Redriver, StillDead
from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError, MalformedRecord
from consumers.aws_lambda.on_failure import StreamReader, read_on_failure, redrive_batch
from consumers.aws_lambda.stream_reader import StreamRangeReader

__all__ = ["FailureFiles", "FailureObjects", "FailureRecords", "redrive_failure", "stream_reader"]


def stream_reader() -> StreamRangeReader:
    """Reads batches back from their streams, each in its region."""

    def client(service: str, region: str) -> Any:
        import boto3

        return boto3.client(service, region_name=region)  # type: ignore[call-overload]  # one of two services

    return StreamRangeReader(cache(client))


class FailureRecords(Protocol):
    """Where Lambda's failure records lie."""

    def names(self) -> Sequence[str]:
        """The name of each."""
        ...

    def read(self, name: str) -> bytes | None:
        """The record's JSON; None if it is gone."""
        ...

    def delete(self, name: str) -> None:
        """Forget one that is done with."""
        ...


@dataclass(frozen=True)
class FailureFiles:
    """Records in files: one, or all of a folder. They are left where they are."""

    path: Path

    def names(self) -> Sequence[str]:
        """Paths of files."""
        if self.path.is_dir():
            return [str(path) for path in sorted(self.path.rglob("*")) if path.is_file()]
        if not self.path.is_file():
            raise ConfigError(f"there is no file or folder {self.path}", remedy="Name one, or s3://bucket/prefix.")
        return [str(self.path)]

    def read(self, name: str) -> bytes:
        """The file."""
        return Path(name).read_bytes()

    def delete(self, name: str) -> None:
        """The file is its owner's."""


@dataclass(frozen=True)
class FailureObjects:
    """Records in S3, as Lambda puts them there; done with, they are deleted."""

    client: Any
    bucket: str
    prefix: str = ""

    def names(self) -> Sequence[str]:
        """Keys of objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        return self._asked(lambda: [entry["Key"] for page in pages for entry in page.get("Contents", ())])  # type: ignore[no-any-return]

    def read(self, name: str) -> bytes | None:
        """The object."""

        def get() -> Any:
            try:
                return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()
            except self.client.exceptions.NoSuchKey:
                return None

        return self._asked(get)  # type: ignore[no-any-return]

    def delete(self, name: str) -> None:
        """The object is gone."""
        self._asked(lambda: self.client.delete_object(Bucket=self.bucket, Key=name))

    def _asked(self, request: Callable[[], Any]) -> Any:
        remedy = "Check the name, and allow s3:GetObject, s3:DeleteObject and s3:ListBucket on it."
        with translated("failure records", f"s3://{self.bucket}/{self.prefix}", remedy):
            return request()


def redrive_failure(
    records: FailureRecords, name: str, redriver: Redriver, read_back: StreamReader, deadline: Deadline
) -> Redriven | StillDead:
    """Redrive the batch of one failure record; it is deleted once all of it is settled."""
    try:
        body = records.read(name)
        if body is None:
            return Redriven()  # somebody was here before us
        batch = read_on_failure(json.loads(body))
        result = redrive_batch(batch, redriver, read_back, deadline)
        if isinstance(result, Redriven):
            records.delete(name)
    except (OSError, ValueError, MalformedRecord) as error:
        return StillDead(f"{name}: this can't be read as a failure record of Lambda: {error}")
    except CdcError as error:
        return StillDead(str(error))
    return result
