"""The OpenSearch client: endpoint, authentication, TLS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cdc.errors import ConfigError
from consumers.aws_lambda.lazy_imports import absent, late

if TYPE_CHECKING:
    from botocore.session import Session
    from opensearchpy.client import OpenSearch
    from urllib3.util import Timeout

    from cdc.deadline import Deadline
    from cdc.sinks.opensearch.signing import Signer
    from consumers.settings import Settings

__all__ = ["assumed", "opensearch_client", "timeout_of", "within"]

_LEAST_SECONDS = 0.1
_OF_STS: dict[str, Any] = {"connect_timeout": 1, "read_timeout": 2, "retries": {"total_max_attempts": 2}}
"""Credentials are renewed in the middle of somebody's request, which waits for them."""


def opensearch_client(settings: Settings) -> OpenSearch:
    """A client that neither retries nor sniffs: what a failure means is the sink's to say.

    Raises:
        ConfigError: there is no endpoint, or SigV4 has no credentials or region.
    """
    OpenSearch = _client_class()  # noqa: N806  (a class)
    if settings.opensearch_endpoint is None:
        raise ConfigError("there is no OpenSearch endpoint", remedy="Set CDC_OPENSEARCH_ENDPOINT.")
    address = urlsplit(settings.opensearch_endpoint)
    options: dict[str, Any] = {}
    if address.scheme == "https":
        options = {"verify_certs": settings.opensearch_verify, "ca_certs": settings.opensearch_ca_certs}
        if not settings.opensearch_verify:
            options["ssl_show_warn"] = True
    match settings.opensearch_auth:
        case "basic":
            options["http_auth"] = (settings.opensearch_username, settings.opensearch_password)
        case "es" | "aoss":
            options["http_auth"] = _signer(settings)
    return OpenSearch(
        hosts=[settings.opensearch_endpoint],
        timeout=settings.opensearch_timeout_seconds,
        max_retries=0,
        retry_on_timeout=False,
        pool_maxsize=16,
        **options,
    )


def _client_class() -> type[OpenSearch]:
    """opensearch-py's client without what it brings along: a query language, requests, asyncio, metadata of packages.

    Half of its import's time is theirs, and nothing of it is used here. Whoever does ask for it finds it.
    """
    late("requests", "urllib3", "urllib3.http2", "opensearchpy", "opensearchpy.helpers")
    with nullcontext() if find_spec("aiohttp") else absent("asyncio"):  # it is for the client that needs aiohttp
        from opensearchpy.client import OpenSearch
    return OpenSearch


def timeout_of(deadline: Deadline, timeout_seconds: float) -> Timeout:
    """How long a request that begins now may take in all, connecting included: never beyond the deadline."""
    from urllib3.util import Timeout

    return Timeout(total=max(_LEAST_SECONDS, min(timeout_seconds, deadline.remaining_seconds)))


def within(client: OpenSearch, deadline: Deadline, timeout_seconds: float) -> OpenSearch:
    """`client` for a while: each request ends before the deadline, and none begins after it.

    Raises:
        ConnectionTimeout: of opensearch-py, by a request that is asked for after the deadline.
    """
    return _Within(client, deadline, timeout_seconds)  # type: ignore[return-value]  # all that it is asked for


@dataclass(frozen=True)
class _Within:
    part: Any
    deadline: Deadline
    timeout_seconds: float

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.part, name)
        if not callable(found):  # such as `indices`
            return _Within(found, self.deadline, self.timeout_seconds)

        def ask(*args: Any, params: Mapping[str, Any] | None = None, **options: Any) -> Any:
            if self.deadline.expired:
                from opensearchpy.exceptions import ConnectionTimeout

                passed = TimeoutError("the deadline has passed")
                raise ConnectionTimeout("TIMEOUT", str(passed), passed)
            timeout = timeout_of(self.deadline, self.timeout_seconds)
            return found(*args, params={**(params or {}), "request_timeout": timeout}, **options)

        return ask


def _signer(settings: Settings) -> Signer:
    from cdc.sinks.opensearch.signing import Signer, environment_keys

    keys, region = environment_keys(), os.environ.get("AWS_DEFAULT_REGION")
    if keys is not None and region and settings.opensearch_role_arn is None:
        return Signer(lambda: keys, region, settings.opensearch_auth)
    from botocore.session import get_session

    session = get_session()
    if settings.opensearch_role_arn:
        session = assumed(session, settings.opensearch_role_arn)
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigError("there are no AWS credentials to sign requests to OpenSearch with", remedy=NO_CREDENTIALS)
    region = session.get_config_variable("region")
    if not region:
        raise ConfigError("there is no AWS region to sign requests to OpenSearch for", remedy="Set AWS_DEFAULT_REGION.")
    return Signer(credentials.get_frozen_credentials, region, settings.opensearch_auth)


NO_CREDENTIALS = "Give the function or task a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."


def assumed(session: Session, role_arn: str) -> Session:
    """A session that acts as the role, its credentials renewed by botocore as they expire."""
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
