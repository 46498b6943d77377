"""Dead letters: the sink around a sink that keeps what is rejected, and the stores that hold the letters."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cdc.dead_letters.letter import UNREADABLE_SINK, DeadLetter, letter_of
from cdc.deadline import Deadline
from cdc.delivery.wrapper import Around
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, Observer, reason_of
from cdc.outcome import Deferred, Outcome, Rejected
from cdc.records.change import Change
from cdc.records.decoding import Record, Unreadable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

__all__ = [
    "Announcing",
    "DeadLetter",
    "DeadLetterStore",
    "Keeping",
    "LetterStore",
    "S3DeadLetters",
    "keep_unreadable",
    "letter_of",
]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_WORKERS = 8
_LETTERS_SECONDS = 1.0  # beside the one that may take longest, for the usual ones before it
_REASON_LETTERS = 500
_ONCE_IN = timedelta(minutes=10)
_REMEMBERED = 2000


class DeadLetterStore(Protocol):
    """Where dead letters are kept."""

    def keep(self, letter: DeadLetter) -> None:
        """Return when the letter is durable. Called by several threads at once.

        Raises:
            SinkUnavailable: it could not be stored.
        """
        ...


class LetterStore(DeadLetterStore, Protocol):
    """A store whose letters can be found again."""

    def keys(self, table: str | None = None) -> Iterator[str]:
        """The keys of all letters, or of a table's.

        Raises:
            SinkUnavailable: the store does not answer.
        """
        ...

    def read(self, key: str) -> DeadLetter | None:
        """The letter of a key; None if there is none (any more).

        Raises:
            SinkUnavailable: the store does not answer.
            MalformedRecord: what is there is no letter.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a letter; one that is gone already is no error.

        Raises:
            SinkUnavailable: the store does not answer.
        """
        ...


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Keeping(Around):
    """A sink whose rejected changes are kept in `store`. Without a store they are deferred: never acknowledged."""

    store: DeadLetterStore | None
    now: Callable[[], datetime] = _now
    observer: Observer = UNOBSERVED
    needs_seconds: float = 0.0
    """How long storing one letter may take: the sink leaves as much of the time, and none is begun with less. 0: they
    are stored whatever the time: a change that others wait behind must not be held by what else is held."""
    _recent: dict[str, datetime] = field(default_factory=dict, repr=False, compare=False)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """As the sink's; a Rejected outcome is kept, a rejection that could not be stored is Deferred."""
        in_time = None
        if self.needs_seconds:
            in_time = deadline.earlier(self.needs_seconds)
            deadline = in_time.earlier(_LETTERS_SECONDS)
        outcomes = self.sink.write(changes, deadline)
        rejected = [(one, why) for one, why in zip(changes, outcomes, strict=True) if isinstance(why, Rejected)]
        kept = _at_once(lambda entry: self._kept_once(*entry, in_time), rejected, self.store)
        self._tell(kept)
        kept_of = iter(kept)
        return [next(kept_of) if isinstance(outcome, Rejected) else outcome for outcome in outcomes]

    def _kept_once(self, change: Change, rejected: Rejected, in_time: Deadline | None) -> Outcome:
        """A held batch comes again and again: its letters are not stored, and not announced, at each attempt."""
        name, now = f"{change.identity} {rejected.document} {rejected.cause}", self.now()
        if (kept_at := self._recent.get(name)) is not None and now - kept_at < _ONCE_IN:
            return replace(rejected, kept=True)
        outcome = _kept(change, rejected, self.name, self.store, self.now, in_time)
        if isinstance(outcome, Rejected):
            self._recent[name] = now
            while len(self._recent) > _REMEMBERED:
                self._recent.pop(next(iter(self._recent)), None)
        return outcome

    def _tell(self, kept: Sequence[Outcome]) -> None:
        for rejected in kept:
            if isinstance(rejected, Rejected):
                for one in (rejected, *rejected.others):
                    self.observer.kept(self.name, reason_of(one.cause))


def _at_once(keep: Callable[[_T], Outcome], entries: Sequence[_T], store: DeadLetterStore | None) -> list[Outcome]:
    """A shard of nothing but poison must not wait for one request after the other."""
    workers = min(getattr(store, "at_once", _WORKERS), len(entries))
    if workers < 2:
        return [keep(entry) for entry in entries]
    with ThreadPoolExecutor(workers, thread_name_prefix="dead-letters") as pool:
        return list(pool.map(keep, entries))


def keep_unreadable(
    records: Sequence[Unreadable],
    store: DeadLetterStore | None,
    now: Callable[[], datetime] = _now,
    in_time: Deadline | None = None,
) -> Sequence[Outcome]:
    """Keep records that are no changes, many at once: each Rejected and kept, or Deferred if it could not be stored.
    None is begun after `in_time`."""

    def keep(record: Unreadable) -> Outcome:
        rejected = Rejected(record.error.message, str(record.error))
        return _kept(record, rejected, UNREADABLE_SINK, store, now, in_time)

    return _at_once(keep, records, store)


def _kept(
    record: Record,
    rejected: Rejected,
    sink: str,
    store: DeadLetterStore | None,
    now: Callable[[], datetime],
    in_time: Deadline | None,
) -> Outcome:
    if store is None:
        return Deferred(f"rejected, and there is no dead-letter store: {rejected.cause}")
    try:
        for one in (rejected, *rejected.others):
            if in_time is not None and in_time.expired:
                return Deferred("rejected, and the dead letter could not be stored: the deadline has passed")
            store.keep(letter_of(record, one, sink, now()))
    except SinkUnavailable as error:
        return Deferred(
            f"rejected, and the dead letter could not be stored: {error.message}. {error.remedy}", error.wait_seconds
        )
    log.warning("%s: rejected, kept as a dead letter: %s (%s)", sink, rejected.cause, record.identity)
    return replace(rejected, kept=True)


@dataclass(frozen=True)
class S3DeadLetters:
    """Letters as JSON objects in a bucket. A letter's key is its name below the prefix."""

    client: S3Client
    bucket: str
    prefix: str = "dead-letters"
    kms_key: str | None = None
    at_once: int = _WORKERS
    """How many letters are stored at the same time; 1 keeps the order of requests, as a simulation wants."""

    def keep(self, letter: DeadLetter) -> None:
        """Put the letter's object; see `DeadLetterStore.keep`."""
        encryption: Mapping[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        )
        self._asked(
            lambda: self.client.put_object(
                Bucket=self.bucket,
                Key=self.object_key(letter.name),
                Body=letter.to_json(),
                ContentType="application/json",
                **encryption,
            )
        )

    def object_key(self, key: str) -> str:
        """The name of a letter's object in the bucket."""
        return f"{self.prefix}/{key}"

    def keys(self, table: str | None = None) -> Iterator[str]:
        """In the order of their names, listed page by page; see `LetterStore.keys`."""
        under = self.object_key(f"table={table}/" if table else "table=")
        token: dict[str, Any] = {}
        while True:
            page = self._asked(lambda: self.client.list_objects_v2(Bucket=self.bucket, Prefix=under, **token))
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(self.object_key(""))
            if not page.get("IsTruncated"):
                return
            token["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, key: str) -> DeadLetter | None:
        """See `LetterStore.read`."""
        from botocore.exceptions import ClientError

        try:
            found = self._asked(lambda: self.client.get_object(Bucket=self.bucket, Key=self.object_key(key)))
        except SinkUnavailable as error:
            if isinstance(error.__cause__, ClientError) and _code(error.__cause__) in ("NoSuchKey", "404"):
                return None
            raise
        return DeadLetter.from_json(self._asked(found["Body"].read))

    def delete(self, key: str) -> None:
        """See `LetterStore.delete`."""
        self._asked(lambda: self.client.delete_object(Bucket=self.bucket, Key=self.object_key(key)))

    def _asked(self, request: Callable[[], Any]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request()
        except (BotoCoreError, ClientError) as error:
            raise SinkUnavailable(
                "dead letters",
                f"s3://{self.bucket}/{self.prefix}: {error}",
                remedy="Check CDC_DEAD_LETTER_BUCKET, and allow s3:PutObject, s3:GetObject, s3:DeleteObject and "
                "s3:ListBucket on it.",
            ) from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@dataclass(frozen=True)
class Announcing:
    """A store whose new letters are announced on an SQS queue by a message that points to the object.

    The object is the truth: an announcement that fails is a warning, and the letter is kept all the same. A message
    never holds anything of the item.
    """

    store: S3DeadLetters
    client: SQSClient
    queue: str
    """The queue's URL."""

    @property
    def at_once(self) -> int:
        """As the store's."""
        return self.store.at_once

    def keep(self, letter: DeadLetter) -> None:
        """Store the letter, then announce it; see `DeadLetterStore.keep`."""
        from botocore.exceptions import BotoCoreError, ClientError

        self.store.keep(letter)
        try:
            self.client.send_message(QueueUrl=self.queue, MessageBody=self._message(letter))
        except (BotoCoreError, ClientError) as error:
            log.warning("the dead letter %s is kept but could not be announced: %s", letter.name, error)

    def _message(self, letter: DeadLetter) -> str:
        return json.dumps(
            {
                "kind": "cdc-dead-letter",
                "bucket": self.store.bucket,
                "key": self.store.object_key(letter.name),
                "identity": letter.identity,
                "table": letter.table,
                "sink": letter.sink,
                "reason": letter.reason[:_REASON_LETTERS],
            }
        )

    def keys(self, table: str | None = None) -> Iterator[str]:
        """As the store's."""
        return self.store.keys(table)

    def read(self, key: str) -> DeadLetter | None:
        """As the store's."""
        return self.store.read(key)

    def delete(self, key: str) -> None:
        """As the store's."""
        self.store.delete(key)
