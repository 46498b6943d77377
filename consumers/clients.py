"""Clients: what a process talks to, opened once, closed in reverse order."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from cdc.aws_session import assumed, session
from cdc.dead_letters.s3 import AnnouncedDeadLetters, S3DeadLetters
from cdc.errors import ConfigError
from cdc.item_reader import DynamoDBItems, ItemReader
from cdc.plain_items import PlainItems
from consumers.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from opensearchpy import OpenSearch

    from cdc.sinks.opensearch.client import OpenSearchOptions

__all__ = [
    "ANNOUNCING_SECONDS",
    "Clients",
    "LateClient",
    "aws_client",
    "item_client",
    "open_clients",
    "opensearch_options",
]

log = logging.getLogger(__name__)

ANNOUNCING_SECONDS = 3.0
"""For one message to SQS: it is not worth waiting for, since the letter is kept all the same."""


@dataclass(frozen=True)
class Clients:
    """The clients of a process; None for what the settings do not ask for. Whoever opens them closes them."""

    opensearch: OpenSearch | None
    archive: S3Client | None
    dead_letters: S3DeadLetters | AnnouncedDeadLetters | None
    items: ItemReader

    @property
    def letters(self) -> S3DeadLetters | None:
        """The store of dead letters itself, without its announcements."""
        kept = self.dead_letters
        return kept.store if isinstance(kept, AnnouncedDeadLetters) else kept

    def close(self) -> None:
        """Close their connections, the last one opened first."""
        letters = self.letters
        for client in (letters.client if letters else None, self.archive, self.opensearch):
            if client is not None:
                client.close()


def open_clients(settings: Settings, *, indexed: bool) -> Clients:
    """The clients that the settings ask for. No request is made yet.

    Args:
        indexed: a mapping names an index.

    Raises:
        ConfigError: there are no AWS credentials, or no endpoint of OpenSearch.
    """
    opensearch, archive = None, None
    if indexed:
        from cdc.sinks.opensearch.client import opensearch_client

        opensearch = opensearch_client(opensearch_options(settings))
    if settings.archive_bucket is not None:
        archive = aws_client("s3", settings.archive_role_arn, settings.aws_timeout_seconds)
    return Clients(opensearch, archive, _dead_letters(settings), _items(settings))


def opensearch_options(settings: Settings) -> OpenSearchOptions:
    """The part of the settings that says how OpenSearch is reached.

    Raises:
        ConfigError: there is no endpoint.
    """
    from cdc.sinks.opensearch.client import OpenSearchOptions

    if settings.opensearch_endpoint is None:
        raise ConfigError("there is no OpenSearch endpoint", remedy="Set CDC_OPENSEARCH_ENDPOINT.")
    return OpenSearchOptions(
        endpoint=settings.opensearch_endpoint,
        auth=settings.opensearch_auth,
        username=settings.opensearch_username,
        password=settings.opensearch_password,
        role_arn=settings.opensearch_role_arn,
        verify=settings.opensearch_verify,
        ca_certs=settings.opensearch_ca_certs,
        timeout_seconds=settings.opensearch_timeout_seconds,
    )


def _items(settings: Settings) -> ItemReader:
    client: Any = LateClient(lambda: aws_client("dynamodb", None, settings.aws_timeout_seconds))
    return DynamoDBItems(client, needs_seconds=settings.aws_timeout_seconds)


def _dead_letters(settings: Settings) -> S3DeadLetters | AnnouncedDeadLetters | None:
    """The store of dead letters, announced if there is a queue; None without a bucket."""
    if settings.dead_letter_bucket is None:
        log.warning(
            "CDC_DEAD_LETTER_BUCKET is not set: a record that can't be written is never acknowledged "
            "and holds its shard until someone mends the cause"
        )
        return None
    if "AWS_ACCESS_KEY_ID" not in os.environ:  # as it is in every Lambda
        session()  # there are credentials
    client: Any = LateClient(lambda: aws_client("s3", None, settings.aws_timeout_seconds))
    store = S3DeadLetters(client, settings.dead_letter_bucket, settings.dead_letter_prefix, settings.archive_kms_key)
    if not settings.dead_letter_queue_url:
        return store
    sqs: Any = LateClient(lambda: aws_client("sqs", None, ANNOUNCING_SECONDS))
    return AnnouncedDeadLetters(store, sqs, settings.dead_letter_queue_url)


def aws_client(
    service: Literal["s3", "sqs", "dynamodb"], role_arn: str | None, timeout_seconds: float = 30.0, *, attempts: int = 1
) -> Any:
    """A client of botocore's that does not retry by itself: the sinks decide what a failure means.

    Args:
        timeout_seconds: for one request, of which connecting may take three tenths.
        attempts: more than one for work of hours that no sink retries.

    Raises:
        ConfigError: there are no credentials.
    """
    from botocore.config import Config

    acting = session()
    if role_arn:
        acting = assumed(acting, role_arn)
    return acting.create_client(
        service,
        config=Config(
            s3={"addressing_style": "auto"},
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=0.3 * timeout_seconds,
            read_timeout=0.7 * timeout_seconds,
            max_pool_connections=16,
        ),
    )


def item_client(timeout_seconds: float) -> Any:
    """A client of DynamoDB for reading whole tables. The items of its answers are as they came: binary is base64 text,
    and nothing of them is converted, which takes botocore ten times as long as parsing them.

    Args:
        timeout_seconds: for one request.

    Raises:
        ConfigError: there are no credentials.
    """
    from botocore.config import Config

    acting = session()
    acting.register_component("response_parser_factory", PlainItems(acting.get_component("response_parser_factory")))
    return acting.create_client(
        "dynamodb",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=0.3 * timeout_seconds,
            read_timeout=timeout_seconds,
            max_pool_connections=64,
        ),
    )


class LateClient:
    """A client that is made at its first use, which costs a tenth of a second: few processes keep a dead letter or read
    an item. It is made once, however many threads ask.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)

    def close(self) -> None:
        """Close the client, if it was made."""
        with self._lock:
            if self._made is not None:
                self._made.close()
