"""Dead letters: rejected records, kept whole, with the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import orjson

from cdc.change import Change
from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.sinks import Sink
from cdc.sources import Record, Unreadable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["DeadLetter", "DeadLetterStore", "Keeping", "S3DeadLetters", "keep_unreadable", "letter_of"]

log = logging.getLogger(__name__)


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rejected record. `record` is the payload as it was received; `detail` may quote its values."""

    identity: str
    table: str
    sink: str
    document: str
    mapping: str
    reason: str
    detail: str
    kept_at: str
    stream: str
    operation: str
    expired: bool
    version: int
    attempts: int
    record: Any

    @property
    def name(self) -> str:
        """By identity, sink and document: a second rejection of the same overwrites the first."""
        where = sha256(f"{self.sink}\n{self.document}".encode()).hexdigest()[:12]
        identity = self.identity.replace("/", "_").replace(":", "")
        return f"table={self.table or 'unknown'}/{identity}-{self.sink}-{where}.json"


class DeadLetterStore(Protocol):
    """Where dead letters are kept."""

    def keep(self, letter: DeadLetter) -> None:
        """Return when the letter is durable.

        Raises:
            SinkUnavailable: it could not be stored.
        """
        ...


def letter_of(record: Record, rejected: Rejected, sink: str, now: datetime, attempts: int = 1) -> DeadLetter:
    """The letter of a record that `sink` rejected."""
    change = record if isinstance(record, Change) else None
    return DeadLetter(
        identity=str(record.identity),
        table=record.table,
        sink=sink,
        document=rejected.document,
        mapping=rejected.mapping,
        reason=rejected.cause,
        detail=rejected.detail,
        kept_at=now.isoformat(),
        stream=change.stream.arn if change else "",
        operation=str(change.operation) if change else "",
        expired=change.expired if change else False,
        version=change.version if change else 0,
        attempts=attempts,
        record=record.record,
    )


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Keeping:
    """A sink whose rejected changes are kept in `store`. Without a store they are deferred: never acknowledged."""

    sink: Sink
    store: DeadLetterStore | None
    now: Callable[[], datetime] = _now

    @property
    def name(self) -> str:
        """The sink's own."""
        return self.sink.name

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's; a Rejected outcome is kept, a rejection that could not be stored is Deferred."""
        return [
            _kept(change, outcome, self.name, self.store, self.now) if isinstance(outcome, Rejected) else outcome
            for change, outcome in zip(changes, self.sink.write(changes, deadline), strict=True)
        ]

    def flush(self, deadline: Deadline) -> None:
        """As the sink's."""
        self.sink.flush(deadline)

    def close(self) -> None:
        """As the sink's."""
        self.sink.close()


def keep_unreadable(record: Unreadable, store: DeadLetterStore | None, now: Callable[[], datetime] = _now) -> Outcome:
    """Keep a record that is no change: Rejected and kept, or Deferred if it could not be stored."""
    return _kept(record, Rejected(record.error.message, str(record.error)), "source", store, now)


def _kept(
    record: Record, rejected: Rejected, sink: str, store: DeadLetterStore | None, now: Callable[[], datetime]
) -> Outcome:
    if store is None:
        return Deferred(f"rejected, and there is no dead-letter store: {rejected.cause}")
    try:
        store.keep(letter_of(record, rejected, sink, now()))
    except SinkUnavailable as error:
        return Deferred(f"rejected, and the dead letter could not be stored: {error.message}", error.wait_seconds)
    log.warning("%s: rejected, kept as a dead letter: %s (%s)", sink, rejected.cause, record.identity)
    return replace(rejected, kept=True)


@dataclass(frozen=True)
class S3DeadLetters:
    """Letters as JSON objects in a bucket."""

    client: S3Client
    bucket: str
    prefix: str = "dead-letters"
    kms_key: str | None = None

    def keep(self, letter: DeadLetter) -> None:
        """Put the letter's object.

        Raises:
            SinkUnavailable: S3 refused or did not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        encryption: dict[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        )
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=f"{self.prefix}/{letter.name}",
                Body=orjson.dumps(msgspec.to_builtins(letter), default=_base64, option=orjson.OPT_INDENT_2),
                ContentType="application/json",
                **encryption,
            )
        except (BotoCoreError, ClientError) as error:
            raise SinkUnavailable("dead letters", f"s3://{self.bucket}/{self.prefix}: {error}") from error


def _base64(value: object) -> str:
    from base64 import b64encode

    if isinstance(value, bytes):
        return b64encode(value).decode()
    return str(value)
