"""Dead letters in S3, and their announcements on SQS."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cdc.aws_errors import code_of, translated
from cdc.dead_letters.letter import DeadLetter
from cdc.errors import SinkUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

__all__ = ["AT_ONCE", "AnnouncedDeadLetters", "S3DeadLetters"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
AT_ONCE = 8
"""How many letters a store takes at the same time, unless it says otherwise."""
_REASON_LETTERS = 500
_REMEDY = (
    "Check the bucket for dead letters, and allow s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket on it."
)


@dataclass(frozen=True)
class S3DeadLetters:
    """Letters as JSON objects in a bucket. A letter's key is its name below the prefix."""

    client: S3Client
    bucket: str
    prefix: str = "dead-letters"
    kms_key: str | None = None
    at_once: int = AT_ONCE
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
        try:
            found = self._asked(lambda: self.client.get_object(Bucket=self.bucket, Key=self.object_key(key)))
        except SinkUnavailable as error:
            if code_of(error.__cause__) in ("NoSuchKey", "404"):
                return None
            raise
        return DeadLetter.from_json(self._asked(found["Body"].read))

    def delete(self, key: str) -> None:
        """See `LetterStore.delete`."""
        self._asked(lambda: self.client.delete_object(Bucket=self.bucket, Key=self.object_key(key)))

    def _asked(self, request: Callable[[], _T]) -> _T:
        with translated("dead letters", f"s3://{self.bucket}/{self.prefix}", _REMEDY):
            return request()


@dataclass(frozen=True)
class AnnouncedDeadLetters:
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
        """The store's own."""
        return self.store.at_once

    def keep(self, letter: DeadLetter) -> None:
        """Store the letter, then announce it; see `DeadLetterStore.keep`."""
        self.store.keep(letter)
        try:
            with translated("dead letters", self.queue):
                self.client.send_message(QueueUrl=self.queue, MessageBody=self._message(letter))
        except SinkUnavailable as error:
            log.warning("the dead letter %s is kept but could not be announced: %s", letter.name, error.message)

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
        """The store's own."""
        return self.store.keys(table)

    def read(self, key: str) -> DeadLetter | None:
        """The store's own."""
        return self.store.read(key)

    def delete(self, key: str) -> None:
        """The store's own."""
        self.store.delete(key)
