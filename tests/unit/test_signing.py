"""The signature of requests to OpenSearch is botocore's, for every request."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from cdc.settings import load_settings
from cdc.sinks.client import opensearch_client
from cdc.sinks.signing import Signer, environment_keys

NOW = datetime(2026, 1, 15, 9, 30, 12, tzinfo=UTC)
HOSTS = ("https://search.example.com", "https://search.example.com:9443", "http://127.0.0.1:9200", "https://a.b:443")
PATHS = (
    "/",
    "/_bulk",
    "/orders/_mapping",
    "/%3Corders-%7Bnow%2Fd%7D%3E",
    "/orders%2Ccustomers/_search",
    "/_alias/a%20b~c",
)
QUERIES = (
    "",
    "?timeout=30s",
    "?filter_path=errors%2Citems.%2A.status&require_alias=true",
    "?b=2&a=1&a=0",
    "?q=%C3%A4%20b",
    "?flat_settings",
)


def by_botocore(keys: ReadOnlyCredentials, service: str, method: str, url: str, body: bytes | None) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, data=body)
    signature = SigV4Auth(keys, service, "eu-west-1")
    request.headers["X-Amz-Content-SHA256"] = signature.payload(request)
    with patch("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None)):
        signature.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    st.sampled_from(("GET", "PUT", "POST", "HEAD", "DELETE")),
    st.sampled_from(HOSTS),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
    st.none() | st.binary(max_size=40),
    st.none() | st.text("abc/+=", min_size=1),
    st.sampled_from(("es", "aoss")),
)
def test_every_request_is_signed_as_botocore_signs_it(
    method: str, host: str, path: str, query: str, body: bytes | None, token: str | None, service: str
) -> None:
    keys = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signed = Signer(lambda: keys, "eu-west-1", service, now=lambda: NOW)(method, host + path + query, body)
    assert {name.lower(): value for name, value in signed.items()} == by_botocore(
        keys, service, method, host + path + query, body
    )


def test_the_keys_of_a_function_are_those_of_its_environment() -> None:
    keys = environment_keys({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"})
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.token) == ("a", "b", "c")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "a"},
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T10:00:00Z"},
    ],
)
def test_keys_that_are_missing_or_expire_are_left_to_botocore(environment: dict[str, str]) -> None:
    assert environment_keys(environment) is None


def test_a_client_that_signs_gives_each_request_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    settings = load_settings({"CDC_OPENSEARCH_ENDPOINT": "https://search.example.com", "CDC_OPENSEARCH_AUTH": "aoss"})
    connection = opensearch_client(settings).transport.get_connection()
    headers = connection.http_auth("GET", "https://search.example.com/", None)
    assert "/eu-west-1/aoss/aws4_request" in headers["Authorization"]
