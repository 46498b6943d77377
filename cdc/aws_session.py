"""AWS sessions: credentials, and roles that are assumed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cdc.errors import ConfigError

if TYPE_CHECKING:
    from botocore.session import Session

__all__ = ["NO_CREDENTIALS", "assumed", "session"]

NO_CREDENTIALS = "Give the function or task a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
_OF_STS: dict[str, Any] = {"connect_timeout": 1, "read_timeout": 2, "retries": {"total_max_attempts": 2}}
"""Credentials are renewed in the middle of a request, which waits for them."""


def session() -> Session:
    """A botocore session that has credentials.

    Raises:
        ConfigError: there are none.
    """
    from botocore.session import get_session

    found = get_session()  # boto3's would bring its resources, and what writes their documentation
    if found.get_credentials() is None:
        raise ConfigError("there are no AWS credentials", remedy=NO_CREDENTIALS)
    return found


def assumed(session: Session, role_arn: str) -> Session:
    """A session that acts as the role; botocore renews its credentials as they expire."""
    from botocore.config import Config
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import get_session

    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(session.create_client, config=Config(**_OF_STS)),
        source_credentials=session.get_credentials(),
        role_arn=role_arn,
        extra_args={"RoleSessionName": "dynamodb-cdc"},
    )
    acting = get_session()
    acting.set_config_variable("region", session.get_config_variable("region"))
    acting.__dict__["_credentials"] = DeferredRefreshableCredentials(  # botocore has no public way to set them
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return acting
