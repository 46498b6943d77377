"""Redriving: Settings and Wiring → Redriver, and where Lambda's failure records come from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from cdc.dead_letters.redrive import Kept, Redriven, Redriver
from cdc.deadline import Deadline
from cdc.delivery.dead_lettering import Announcing
from cdc.errors import CdcError, ConfigError, MalformedRecord, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.records.sequence import Stream
from cdc.sinks import Sink
from consumers.aws_lambda.on_failure import StreamReader, read_on_failure, redrive_batch
from consumers.aws_lambda.stream_reader import Streams
from consumers.pipelines import Wiring

__all__ = [
    "FailureFiles",
    "FailureObjects",
    "FailureRecords",
    "OwnTables",
    "no_bucket",
    "redrive_failure",
    "redriver",
    "streams",
]

log = logging.getLogger(__name__)


def no_bucket() -> ConfigError:
    """The error of a deployment without a bucket for dead letters."""
    return ConfigError(
        "no dead-letter bucket is configured",
        remedy="Set CDC_DEAD_LETTER_BUCKET to the bucket where the consumer keeps its dead letters.",
    )


def redriver(wiring: Wiring, *, from_letter: bool = False) -> Redriver:
    """What redrives the letters of this deployment.

    Raises:
        ConfigError: there is no bucket of dead letters, or AWS can't be asked.
    """
    kept = wiring.dead_letters
    if kept is None:
        raise no_bucket()
    return Redriver(
        destinations=_Destinations(wiring),
        items=wiring.items,
        letters=kept.store if isinstance(kept, Announcing) else kept,
        kept=kept,
        reach=OwnTables(),
        from_letter=from_letter,
    )


@dataclass(frozen=True)
class _Destinations:
    wiring: Wiring

    @property
    def functions(self) -> Sink | None:
        return self.wiring.functions

    def prepare(self, stream: Stream, keys: Sequence[str]) -> CompiledMapping:
        self.wiring.prepare(stream, keys, remember=False)
        return self.wiring.compiled[stream.table]

    def index(self, mapping_of: Callable[[str], CompiledMapping]) -> Sink | None:
        if self.wiring.opensearch is None or self.wiring.targets is None:
            return None
        return self.wiring.index(self.wiring.opensearch, self.wiring.targets, mapping_of)

    def archive(self) -> Sink | None:
        return self.wiring.archive()


@dataclass(frozen=True)
class OwnTables:
    """Is the table that can be read here the one of the stream? Another account or region may have one of its name,
    and what stands, or does not stand, there would be written."""

    describe: Callable[[str], str] = field(default_factory=lambda: cache(_table_arn))

    def __call__(self, stream: Stream) -> None:
        """
        Raises:
            SinkUnavailable: it is another, or there is none.
        """
        here = self.describe(stream.table)
        if here and here.split(":")[3:5] != stream.arn.split(":")[3:5]:
            raise SinkUnavailable(
                "table",
                f"the stream is {stream.arn}, and the table that can be read here is {here}",
                remedy="Run this with the credentials of that account and with its AWS_REGION.",
            )


def _table_arn(table: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return boto3.client("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code == "AccessDeniedException":
            log.warning("dynamodb:DescribeTable is not allowed on %s: that it is the stream's table is assumed", table)
            return ""
        raise SinkUnavailable(
            "table",
            f"the table {table} can't be looked up: {code}",
            remedy="Check AWS_REGION and the credentials; --from-letter does without the table.",
        ) from error
    except BotoCoreError as error:
        raise SinkUnavailable("table", f"the table {table} can't be looked up: {type(error).__name__}") from error


def streams() -> Streams:
    """Reads batches back from their streams, each in its region."""

    def client(service: str, region: str) -> Any:
        import boto3

        return boto3.client(service, region_name=region)  # type: ignore[call-overload]  # one of two services

    return Streams(cache(client))


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
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request()
        except (ClientError, BotoCoreError) as error:
            raise SinkUnavailable(
                "failure records",
                f"s3://{self.bucket}/{self.prefix}: {error}",
                remedy="Check the name, and allow s3:GetObject, s3:DeleteObject and s3:ListBucket on it.",
            ) from error


def redrive_failure(
    records: FailureRecords, name: str, redriving: Redriver, read_back: StreamReader, deadline: Deadline
) -> Redriven | Kept:
    """Redrive the batch of one failure record; it is deleted once all of it is settled."""
    try:
        body = records.read(name)
        if body is None:
            return Redriven()  # somebody was here before us
        batch = read_on_failure(json.loads(body))
        result = redrive_batch(batch, redriving, read_back, deadline)
        if isinstance(result, Redriven):
            records.delete(name)
    except (OSError, ValueError, MalformedRecord) as error:
        return Kept(f"{name}: this can't be read as a failure record of Lambda: {error}")
    except CdcError as error:
        return Kept(str(error))
    return result
