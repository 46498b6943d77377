"""The OpenSearch client: endpoint, authentication, TLS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from cdc.aws_session import NO_CREDENTIALS, assumed
from cdc.errors import ConfigError

if TYPE_CHECKING:
    from opensearchpy import OpenSearch
    from urllib3.util import Timeout

    from cdc.deadline import Deadline
    from cdc.sinks.opensearch.signing import Signer

__all__ = ["OpenSearchOptions", "opensearch_client", "timeout_of", "within"]

_LEAST_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSearchOptions:
    """How OpenSearch is reached."""

    endpoint: str
    """Scheme, host and port; without a port it is that of the scheme: 80 or 443."""
    auth: Literal["none", "basic", "es", "aoss"] = "none"
    """`es` and `aoss` sign requests by SigV4 for that service."""
    username: str | None = None
    password: str | None = None
    role_arn: str | None = None
    """A role that is assumed to sign requests, such as one of the domain's own account."""
    verify: bool = True
    ca_certs: str | None = None
    timeout_seconds: float = 30.0


def opensearch_client(options: OpenSearchOptions, *, raw_answers: bool = False) -> OpenSearch:
    """A client that neither retries nor sniffs: the sink decides what a failure means.

    Args:
        raw_answers: answers are their JSON text, for who reads them with all digits; errors stay opensearch-py's.

    Raises:
        ConfigError: SigV4 has no credentials or region.
    """
    from opensearchpy.client import OpenSearch

    more: dict[str, Any] = {}
    if urlsplit(options.endpoint).scheme == "https":
        more = {"verify_certs": options.verify, "ca_certs": options.ca_certs}
        if not options.verify:
            more["ssl_show_warn"] = True
    match options.auth:
        case "basic":
            more["http_auth"] = (options.username, options.password)
        case "es" | "aoss":
            more["http_auth"] = _signer(options)
    if raw_answers:
        more["serializer"] = _raw_answers()
    return OpenSearch(
        hosts=[_with_port(options.endpoint)],
        timeout=options.timeout_seconds,
        max_retries=0,
        retry_on_timeout=False,
        pool_maxsize=16,
        **more,
    )


def _raw_answers() -> Any:
    from opensearchpy.serializer import JSONSerializer

    class RawAnswers(JSONSerializer):
        """Writes JSON, and leaves what it is given to read as it is."""

        def loads(self, s: str) -> Any:
            return s

    return RawAnswers()


def _with_port(endpoint: str) -> str:
    """The endpoint with its scheme's port where it names none: opensearch-py would take 9200 for http."""
    parts = urlsplit(endpoint)
    if parts.port is not None or parts.scheme != "http":
        return endpoint
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:80"))


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


def _signer(options: OpenSearchOptions) -> Signer:
    from cdc.sinks.opensearch.signing import Signer, environment_keys

    keys, region = environment_keys(), os.environ.get("AWS_DEFAULT_REGION")
    if keys is not None and region and options.role_arn is None:
        return Signer(lambda: keys, region, options.auth)
    from botocore.session import get_session

    session = get_session()
    if options.role_arn:
        session = assumed(session, options.role_arn)
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigError("there are no AWS credentials to sign requests to OpenSearch with", remedy=NO_CREDENTIALS)
    region = session.get_config_variable("region")
    if not region:
        raise ConfigError("there is no AWS region to sign requests to OpenSearch for", remedy="Set AWS_DEFAULT_REGION.")
    return Signer(credentials.get_frozen_credentials, region, options.auth)
