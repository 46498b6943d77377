"""Clients of AWS: bounded in time, without retries of their own, made late where few processes need them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from cdc.errors import ConfigError
from cdc.sinks.opensearch.client import NO_CREDENTIALS, assumed

if TYPE_CHECKING:
    from botocore.session import Session

__all__ = ["LateClient", "aws_client", "check_credentials"]


def check_credentials() -> None:
    """Are there any?

    Raises:
        ConfigError: no.
    """
    _session()


def _session() -> Session:
    from botocore.session import get_session

    session = get_session()  # boto3's would bring its resources, and what writes their documentation
    if session.get_credentials() is None:
        raise ConfigError("there are no AWS credentials", remedy=NO_CREDENTIALS)
    return session


def aws_client(service: Literal["s3", "sqs", "dynamodb"], role_arn: str | None, timeout_seconds: float = 30.0) -> Any:
    """A client of botocore's that does not retry by itself: what a failure means is the sinks' to say.
    `timeout_seconds`: for one request, of which connecting may take three tenths.

    Raises:
        ConfigError: there are no credentials.
    """
    from botocore.config import Config

    session = _session()
    if role_arn:
        session = assumed(session, role_arn)
    return session.create_client(
        service,
        config=Config(
            s3={"addressing_style": "auto"},
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=0.3 * timeout_seconds,
            read_timeout=0.7 * timeout_seconds,
            max_pool_connections=16,
        ),
    )


class LateClient:
    """A client that is made at its first use, which costs a tenth of a second: few processes keep a dead letter or read
    an item. It is made once, however many threads ask."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._lock = Lock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return getattr(self._made, name)
