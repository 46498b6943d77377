"""The OpenSearch client: endpoint, authentication, TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cdc.errors import ConfigError

if TYPE_CHECKING:
    import boto3
    from opensearchpy import OpenSearch

    from cdc.settings import Settings

__all__ = ["assumed", "opensearch_client"]


def opensearch_client(settings: Settings) -> OpenSearch:
    """A client that neither retries nor sniffs: what a failure means is the sink's to say.

    Raises:
        ConfigError: there is no endpoint, or SigV4 has no credentials or region.
    """
    from opensearchpy import OpenSearch

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


def _signer(settings: Settings) -> Any:
    import boto3
    from opensearchpy import Urllib3AWSV4SignerAuth

    session = boto3.Session()
    if settings.opensearch_role_arn:
        session = assumed(session, settings.opensearch_role_arn)
    credentials = session.get_credentials()
    if credentials is None:
        raise ConfigError("there are no AWS credentials to sign requests to OpenSearch with", remedy=NO_CREDENTIALS)
    if not session.region_name:
        raise ConfigError("there is no AWS region to sign requests to OpenSearch for", remedy="Set AWS_REGION.")
    return Urllib3AWSV4SignerAuth(credentials, session.region_name, settings.opensearch_auth)


NO_CREDENTIALS = "Give the function or task a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."


def assumed(session: boto3.Session, role_arn: str) -> boto3.Session:
    """A session that acts as the role, its credentials renewed by botocore as they expire."""
    import boto3
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
    from botocore.session import get_session

    fetcher = AssumeRoleCredentialFetcher(
        client_creator=session.client,
        source_credentials=session.get_credentials(),
        role_arn=role_arn,
        extra_args={"RoleSessionName": "dynamodb-cdc"},
    )
    core = get_session()
    core.__dict__["_credentials"] = DeferredRefreshableCredentials(  # botocore has no public way to set them
        method="assume-role", refresh_using=fetcher.fetch_credentials
    )
    return boto3.Session(botocore_session=core, region_name=session.region_name)
