"""The archive as a sink: segments of changes, put into S3 by conditional writes."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tenacity

from cdc.archive import ArchivedChange, Segment, archived_of, object_name, read_lines, unite
from cdc.aws_errors import code_of, unavailable
from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.errors import MalformedRecord, SinkMisconfigured, SinkUnavailable
from cdc.mappings.model import ArchiveRule, TableMapping, split_path
from cdc.observer import UNOBSERVED, ArchivedObject, Observer
from cdc.outcome import Applied, Outcome, Rejected, Skipped
from cdc.records.change import Change

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["S3Archive"]

log = logging.getLogger(__name__)

_LOST_RACE = frozenset({"404", "409", "412", "NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict"})
_MISCONFIGURED = frozenset({"NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_RACES = 10


_NOT_ASKED_FOR = Skipped("the mapping says archive: false")
_ADDED = Applied()


class _LostRace(Exception):
    """Another writer was there between our look and our write."""


class S3Archive:
    """Collects changes, and puts those of each stream and table into one object when flushed.

    Guarantee: at least once; a replay or a second writer neither duplicates an object nor takes a record out of one.
    The object is named by its first record and made only if the name is free; if it is taken, what it holds is
    united with ours.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        mapping_of: Callable[[str], TableMapping],
        *,
        prefix: str = "cdc",
        kms_key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        name: str = "archive",
        observer: Observer = UNOBSERVED,
        needs_seconds: float = 0.0,
    ) -> None:
        """`needs_seconds`: how long one request may take; none is begun with less time left."""
        self._needs_seconds = needs_seconds
        self._observer = observer
        self._sleep = sleep
        self.name = name
        self._client = client
        self._bucket = bucket
        self._mapping_of = mapping_of
        self._prefix = prefix
        self._encryption: dict[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        )
        self._open: dict[tuple[str, str], tuple[Change, list[ArchivedChange]]] = {}

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """Add to the open segments; durable after `flush`."""
        rules = {table: self._mapping_of(table) for table in {change.table for change in changes}}
        excluded = {table: _excluded(rule) for table, rule in rules.items() if rule.archived}
        return [self._add(change, excluded.get(change.table)) for change in changes]

    def _add(self, change: Change, exclude: tuple[tuple[str, ...], ...] | None) -> Outcome:
        if exclude is None:
            return _NOT_ASKED_FOR
        try:
            archived = archived_of(change, exclude)
        except (TypeError, AttributeError) as error:
            return Rejected(
                Cause("the record can't be written as a line of the archive", CauseKind.UNWRITABLE_LINE), repr(error)
            )
        origin = change.stream.arn, change.table
        if origin not in self._open:
            self._open[origin] = change, []
        self._open[origin][1].append(archived)
        return _ADDED

    def flush(self, deadline: Deadline) -> None:
        """Put the open segments. What fails stays open, for the next flush."""
        in_time = deadline.earlier(self._needs_seconds)
        for origin, (first, changes) in list(self._open.items()):
            self._put(object_name(self._prefix, first), first.table, Segment.of_changes(changes), in_time)
            del self._open[origin]

    def close(self) -> None:
        """Drop the open segments without writing them."""
        self._open.clear()

    def _begin(self, in_time: Deadline) -> None:
        if in_time.expired:
            raise SinkUnavailable(
                self.name, "the deadline has passed before the archive was written", kind=CauseKind.DEADLINE
            )

    def _put(self, key: str, table: str, segment: Segment, in_time: Deadline) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        racing = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_LostRace),
            stop=lambda state: state.attempt_number >= _RACES or in_time.remaining_seconds <= state.upcoming_sleep,
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            racing(self._put_or_unite, key, table, segment, in_time)
        except _LostRace as error:
            message = f"s3://{self._bucket}/{key} keeps being written by others"
            raise SinkUnavailable(self.name, message, kind=CauseKind.LOST_RACE) from error
        except ClientError as error:
            if code_of(error) in _MISCONFIGURED:
                raise SinkMisconfigured(
                    self.name,
                    f"s3://{self._bucket}/{key}: {error}",
                    remedy="Create the bucket, or allow s3:PutObject and s3:GetObject on it.",
                ) from error
            raise unavailable(self.name, f"s3://{self._bucket}/{key}", error) from error
        except BotoCoreError as error:
            raise unavailable(self.name, f"s3://{self._bucket}", error) from error

    def _put_or_unite(self, key: str, table: str, segment: Segment, in_time: Deadline) -> None:
        """1. Make the object if the name is free. 2. If it holds the same, done. 3. Else unite the two."""
        self._begin(in_time)
        if self._put_if(key, table, segment, {"IfNoneMatch": "*"}):
            return
        self._begin(in_time)
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        except self._client.exceptions.NoSuchKey as error:
            raise _LostRace from error
        if found["Metadata"].get("digest") == segment.digest:
            return
        try:
            there = Segment.of(read_lines(found["Body"].read()))
        except (MalformedRecord, OSError, EOFError, zlib.error) as error:
            raise SinkMisconfigured(
                self.name,
                f"s3://{self._bucket}/{key} is no object of an archive: {error}",
                remedy="Move it away: its name is needed for the archive.",
            ) from error
        united = unite(segment, there)
        if united.digest == there.digest:
            return
        self._begin(in_time)
        if not self._put_if(key, table, united, {"IfMatch": found["ETag"]}):
            raise _LostRace

    def _put_if(self, key: str, table: str, segment: Segment, condition: dict[str, Any]) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=segment.body,
                Metadata=segment.metadata(table),
                ContentType="application/x-ndjson",
                **condition,
                **self._encryption,
            )
        except ClientError as error:
            if code_of(error) in _LOST_RACE:
                return False
            raise
        self._observer(ArchivedObject(len(segment.body)))
        return True


def _excluded(mapping: TableMapping) -> tuple[tuple[str, ...], ...]:
    return tuple(map(split_path, mapping.archive.exclude)) if isinstance(mapping.archive, ArchiveRule) else ()
